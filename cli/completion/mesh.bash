# Completion of mesh for bash: source <(mesh completion bash)
_mesh() {
  local output line
  COMPREPLY=()
  if ! output=$(PYTHON -I -m meshwright.cli.completion.answer "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); then
    compopt -o default 2>/dev/null
    return
  fi
  while IFS= read -r line; do
    [ -n "$line" ] && COMPREPLY+=("${line%%$'\t'*}")
  done <<< "$output"
  if [ ${#COMPREPLY[@]} -eq 1 ] && [[ ${COMPREPLY[0]} == *[=/] ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -F _mesh mesh
