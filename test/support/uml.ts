/**
 * Labs on a User-Mode Linux: a whole kernel as a process, for what the running kernel lacks (IPVS).
 *
 * Debian's package user-mode-linux brings linux.uml and its modules; its root file system is the host's. One boot records
 * any number of labs with the batch recorder. It has HZ=100 and no nftables.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { recorderFile } from '../../src/lab/linux.ts'
import type { LabResult, LabScenario } from '../../src/lab/scenario.ts'

const MODULES = '/usr/lib/uml/modules'
const BOOT_MS = 60_000
const LAB_MS = 60_000

const WANTED = [
  ...['af_packet', 'veth', 'dummy', 'bridge', 'br_netfilter', 'nf_conntrack', 'nf_conntrack_netlink', 'nf_nat'],
  ...['ip_tables', 'iptable_raw', 'iptable_mangle', 'iptable_nat', 'iptable_filter', 'x_tables', 'xt_mark', 'xt_set'],
  ...['xt_comment', 'xt_addrtype', 'xt_conntrack', 'xt_MASQUERADE', 'xt_nat', 'xt_tcpudp', 'xt_ipvs', 'xt_physdev'],
  ...['ipt_REJECT', 'ip_set', 'ip_set_hash_ip', 'ip_set_hash_ipport', 'ip_set_hash_ipportip', 'ip_set_hash_ipportnet'],
  ...['ip_set_bitmap_port', 'ip_vs', 'ip_vs_rr', 'ip_vs_sh', 'ip_vs_mh', 'ip_vs_lc', 'ip_vs_wlc'],
]

/** The first process inside: kernel arguments of the form name=value reach it as environment. */
function initScript(): string {
  return `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/netns /run/lock
mount -t devtmpfs dev /dev 2>/dev/null
echo "$WORK/modprobe" > /proc/sys/kernel/modprobe
for m in ${WANTED.join(' ')}; do "$WORK/modprobe" $m; done
ip link set lo up
python3 "$RECORDER" 0 <"$WORK/labs" >"$WORK/results" 2>"$WORK/errors"
sync; /sbin/poweroff -f
`
}

/** Records the labs in one boot; an entry is the message when a command of that lab was refused. */
export function recordInUml(labs: readonly LabScenario[]): (LabResult | string)[] {
  const work = mkdtempSync(join(tmpdir(), 'podwalk-uml-'))
  try {
    const version = readdirSync(MODULES).sort().at(-1)
    if (version === undefined) throw new Error(`no kernel modules in ${MODULES}`)
    mkdirSync(join(work, 'lib', 'modules'), { recursive: true })
    symlinkSync(join(MODULES, version), join(work, 'lib', 'modules', version))
    const modprobe = `#!/bin/sh\nexec /sbin/modprobe -d ${work} "$@"\n`
    writeFileSync(join(work, 'modprobe'), modprobe, { mode: 0o755 })
    writeFileSync(join(work, 'init'), initScript(), { mode: 0o755 })
    writeFileSync(join(work, 'labs'), labs.map((lab) => `${JSON.stringify(lab)}\n`).join(''))
    const done = spawnSync(
      'linux.uml',
      [
        ...['mem=512M', 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'rw', `init=${join(work, 'init')}`],
        ...[`WORK=${work}`, `RECORDER=${recorderFile('batch.py')}`, 'con=null', 'con0=null,fd:1', 'ssl=null'],
        ...[`uml_dir=${work}/`, 'umid=podwalk', 'quiet'],
      ],
      { encoding: 'utf8', timeout: BOOT_MS + LAB_MS * labs.length, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    const errors = readFileSync(join(work, 'errors'), 'utf8')
    const lines = readFileSync(join(work, 'results'), 'utf8').split('\n').slice(0, labs.length)
    return labs.map((_, i) => {
      const line = lines[i] ?? ''
      if (line === '') return `no answer: ${errors.slice(-500)}${done.stdout.slice(-500)}`
      const answer = JSON.parse(line) as { result?: LabResult; refused?: string }
      return answer.result ?? answer.refused ?? 'no result'
    })
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
