/**
 * `podwalk completion bash|zsh|fish`: a script that completes commands and options, made from the commands themselves.
 */
import type { Command } from 'commander'
import { choiceArgument } from '../choice.ts'
import { writeData } from '../output.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

const EXAMPLES = `Examples:
  source <(podwalk completion bash)
  podwalk completion zsh > "\${fpath[1]}/_podwalk"
  podwalk completion fish > ~/.config/fish/completions/podwalk.fish
`

/** Adds the command. */
export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .argument('<shell>', SHELLS.join(', '), choiceArgument(SHELLS))
    .description('print a completion script for a shell')
    .addHelpText('before', EXAMPLES)
    .action(async (shell: Shell) => {
      // The running program may hold this one command only.
      const { buildProgram } = await import('../program.ts')
      writeData(script(shell, (await buildProgram('all')).commands), undefined)
    })
}

interface Word {
  readonly name: string
  readonly description: string
  readonly options: readonly { readonly long: string; readonly description: string }[]
  readonly children: readonly string[]
}

function wordsOf(commands: readonly Command[]): Word[] {
  return commands.map((c) => ({
    name: c.name(),
    description: c.description(),
    options: c.options.flatMap((o) =>
      o.long === undefined || o.long === null ? [] : [{ long: o.long, description: o.description }],
    ),
    children: c.commands.map((s) => s.name()),
  }))
}

function script(shell: Shell, commands: readonly Command[]): string {
  const words = wordsOf(commands)
  return shell === 'bash' ? bash(words) : shell === 'zsh' ? zsh(words) : fish(words)
}

function bash(words: readonly Word[]): string {
  const cases = words.map(
    (w) => `    ${w.name}) words="${[...w.children, ...w.options.map((o) => o.long)].join(' ')}" ;;`,
  )
  return `# bash completion for podwalk
_podwalk() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" words
  case "\${COMP_WORDS[COMP_CWORD-1]}" in
    -f|--filename|-w|--write) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${words.map((w) => w.name).join(' ')}" -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _podwalk podwalk
`
}

function zsh(words: readonly Word[]): string {
  const quote = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(':', '\\:')
  const commands = words.map((w) => `    '${w.name}:${quote(w.description)}'`)
  const cases = words.map((w) => {
    const values = [...w.children, ...w.options.map((o) => o.long)].map((v) => `'${v}'`)
    return `    ${w.name}) compadd -- ${values.join(' ')} ;;`
  })
  return `#compdef podwalk
_podwalk() {
  local -a commands=(
${commands.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' commands
    return
  fi
  case "$words[CURRENT-1]" in
    -f|--filename|-w|--write) _files; return ;;
  esac
  case "$words[2]" in
${cases.join('\n')}
  esac
  _files
}
_podwalk "$@"
`
}

function fish(words: readonly Word[]): string {
  const quote = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
  const lines = words.flatMap((w) => [
    `complete -c podwalk -n __fish_use_subcommand -f -a ${w.name} -d '${quote(w.description)}'`,
    ...w.children.map((c) => `complete -c podwalk -n '__fish_seen_subcommand_from ${w.name}' -f -a ${c}`),
    ...w.options.map(
      (o) =>
        `complete -c podwalk -n '__fish_seen_subcommand_from ${w.name}' -l ${o.long.slice(2)} -d '${quote(o.description)}'`,
    ),
  ])
  return `# fish completion for podwalk\n${lines.join('\n')}\n`
}
