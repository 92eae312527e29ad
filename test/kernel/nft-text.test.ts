/**
 * nftables text against the real tool: the same text goes into the kernel and into podwalk; listings in text and JSON,
 * handles and errors must be equal. The recordings that the unit tests use are taken again and compared.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { execTool } from '../../src/linux/tools/exec.ts'
import { nft } from '../../src/linux/tools/nft.ts'
import { World } from '../../src/linux/world.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { labNames, labScenario } from '../support/lab.ts'
import {
  commandContext,
  recordedCommands,
  recordedRules,
  ruleContext,
  rulesets,
  settled,
  withoutGuess,
} from '../support/nft-fixtures.ts'

const NS = 'podwalk-nft-text'
const MARK = '---- podwalk ----'

/** Loads a context and a text for each case in one shell; gives status, errors and what `list` prints. */
function realRuns(
  dir: string,
  cases: readonly { context: string; text: string; list: readonly string[] }[],
): string[][] {
  const script: string[] = []
  cases.forEach((c, i) => {
    writeFileSync(join(dir, `context.${i}`), c.context)
    writeFileSync(join(dir, `text.${i}`), c.text)
    script.push(`nft flush ruleset; nft -f ${dir}/context.${i}; nft -f - < ${dir}/text.${i} > ${dir}/out 2> ${dir}/err`)
    script.push(`echo $?; echo '${MARK}'; cat ${dir}/out; echo '${MARK}'; cat ${dir}/err; echo '${MARK}'`)
    for (const l of c.list) script.push(`nft ${l} 2>/dev/null; echo '${MARK}'`)
  })
  const out = inNetns(NS, ['sh'], script.join('\n')).stdout.split(`${MARK}\n`)
  const per = 3 + (cases[0]?.list.length ?? 0)
  return cases.map((_, i) => out.slice(i * per, (i + 1) * per))
}

const VETH = ['ip', 'link', 'add', 'veth1', 'type', 'veth', 'peer', 'name', 'veth2']

describeKernel('nftables text equals the real tool', ['nft'], () => {
  const dir = mkdtempSync(join(tmpdir(), 'podwalk-nft-'))
  beforeAll(() => {
    netnsAdd(NS)
    expect(inNetns(NS, VETH).status).toBe(0)
  })
  afterAll(() => {
    netnsDel(NS)
    rmSync(dir, { recursive: true })
  })

  it('words every recorded rule as the installed tool does now', () => {
    for (const family of new Set(recordedRules().map((r) => r.family))) {
      const rules = recordedRules().filter((r) => r.family === family)
      const runs = realRuns(
        dir,
        rules.map((r) => ({
          context: ruleContext(r),
          text: `add rule ${r.family} t c ${r.rule}\n`,
          list: [`list chain ${family} t c`, `-j list chain ${family} t c`],
        })),
      )
      rules.forEach((r, i) => {
        const [, , err, text, json] = runs[i]!
        expect({ rule: r.rule, error: withoutGuess(err!) }).toEqual({ rule: r.rule, error: r.error ?? '' })
        if (r.error !== undefined) return
        expect(text!.split('\n')[3]!.trim()).toBe(r.text)
        const listed = JSON.parse(json!) as { nftables: { rule?: { expr: unknown } }[] }
        expect(listed.nftables.find((x) => x.rule !== undefined)!.rule!.expr).toEqual(r.expr)
      })
    }
  }, 180_000)

  it('answers every recorded command as the installed tool does now', () => {
    const commands = recordedCommands()
    const runs = realRuns(
      dir,
      commands.map((c) => ({ context: commandContext(), text: `${c.command}\n`, list: ['-a list ruleset'] })),
    )
    commands.forEach((c, i) => {
      const [status, stdout, stderr, ruleset] = runs[i]!
      expect({
        command: c.command,
        status: Number(status),
        stdout,
        stderr: withoutGuess(stderr!),
        ruleset: settled(ruleset!),
      }).toEqual(c)
    })
  }, 120_000)

  const labs = labNames().flatMap((name) =>
    Object.entries(labScenario(name).nft ?? {}).map(([ns, text]) => [`lab ${name} ${ns}`, text] as [string, string]),
  )
  it.each([...rulesets(), ...labs])(
    '%s: lists the same, with handles and in JSON, and reads back what it listed',
    (_name, text) => {
      inNetns(NS, ['nft', 'flush', 'ruleset'])
      expect(inNetns(NS, ['nft', '-f', '-'], text).stderr).toBe('')
      const real = inNetns(NS, ['nft', '-a', 'list', 'ruleset']).stdout
      const ns = new World().addNetns('a')
      // iif and oif want interfaces that exist: those of the labs
      expect(execTool(ns, VETH).status).toBe(0)
      expect(nft(ns, ['-f', '-'], text).stderr).toBe('')
      expect(settled(nft(ns, ['-a', 'list', 'ruleset']).stdout)).toBe(settled(real))
      const json = (s: string): unknown => JSON.parse(settled(s).replaceAll(': N', ': 0'))
      expect(json(nft(ns, ['-j', 'list', 'ruleset']).stdout)).toEqual(
        json(inNetns(NS, ['nft', '-j', 'list', 'ruleset']).stdout),
      )
      // what we print, the real tool reads and prints again
      const printed = nft(ns, ['list', 'ruleset']).stdout
      inNetns(NS, ['nft', 'flush', 'ruleset'])
      const readable = printed.replace(/ expires [0-9a-z]+/g, '')
      expect(inNetns(NS, ['nft', '-f', '-'], readable).stderr).toBe('')
      expect(settled(inNetns(NS, ['nft', 'list', 'ruleset']).stdout)).toBe(settled(readable))
    },
  )
})
