# Completion of mesh for fish: mesh completion fish > ~/.config/fish/completions/mesh.fish
function __mesh_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l output (PYTHON -I -m meshwright.cli.completion.answer $words[2..-1] 2>/dev/null)
    and printf '%s\n' $output
    or __fish_complete_path (commandline -ct)
end
complete -c mesh -f -a '(__mesh_complete)'
