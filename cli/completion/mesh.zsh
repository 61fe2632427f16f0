#compdef mesh
# Completion of mesh for zsh, after compinit: source <(mesh completion zsh)
_mesh() {
  local output line
  local -a values shown open_values
  output=$(PYTHON -I -m meshwright.cli.completion.answer "${(@)words[2,CURRENT]}" 2>/dev/null) || { _files; return }
  for line in ${(f)output}; do
    if [[ ${line%%$'\t'*} == *[=/] ]]; then
      open_values+=("${line%%$'\t'*}")
    else
      values+=("${line%%$'\t'*}")
      shown+=("${line/$'\t'/  -- }")
    fi
  done
  (( $#open_values )) && compadd -S '' -a open_values
  (( $#values )) && compadd -l -d shown -a values
}
if [[ $funcstack[1] == _mesh ]]; then _mesh "$@"; else compdef _mesh mesh; fi
