#!/usr/bin/env python3
"""Records one kernel-lab scenario on the real kernel: reads the scenario as JSON on stdin, runs it in network
namespaces of its own (kl<pid>-NAME, deleted at the end), prints the recording as JSON on stdout.

Started by src/lab/linux.ts (podwalk lab run --backend linux).  Python 3 standard library only.  Needs root, iproute2,
ethtool and what the scenario uses of iptables, ipset, nftables and conntrack.  Exit status 3: a command of the scenario
failed (message on stderr).  class Norm here and src/lab/norm.ts are the same algorithm and must stay equal.
"""
import sys, os, json, socket, mmap, struct, subprocess, time, ctypes, select, re, errno, signal
PFX = "kl%d-" % os.getpid()
libc = ctypes.CDLL("libc.so.6", use_errno=True)
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SOL_PACKET = 263

# ---------------------------------------------------------------- helpers
def sh(args, inp=None, check=True):
    r = subprocess.run(args, input=inp, text=True, capture_output=True)
    if check and r.returncode:
        raise RuntimeError("%s -> %d: %s%s" % (" ".join(args), r.returncode, r.stdout[-800:], r.stderr[-1500:]))
    return r
class InNs:
    _self = None
    def __init__(s, ns): s.ns = ns
    def __enter__(s):
        if InNs._self is None: InNs._self = os.open("/proc/self/ns/net", os.O_RDONLY)
        fd = os.open("/run/netns/" + PFX + s.ns, os.O_RDONLY)
        if libc.setns(fd, CLONE_NEWNET): raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)
    def __exit__(s, *a):
        if libc.setns(InNs._self, CLONE_NEWNET): raise OSError(ctypes.get_errno(), "setns back")
def csum(b):
    if len(b) & 1: b += b"\0"
    t = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while t >> 16: t = (t & 0xffff) + (t >> 16)
    return (~t) & 0xffff

# ---------------------------------------------------------------- normaliser (src/lab/norm.ts is its port)
class Norm:
    """Rewrites only the fields that the kernel picks at random, per interface, in order of first appearance:
      ipid   every IPv4 ID that is not 0 and not in `fixed` (IDs of injected frames) -> 0xF001, 0xF002, ... one per
             distinct (src, dst, proto, ID) as they stand in that header, inner headers before outer ones
      tcp    (if norm.tcp) sequence numbers: per flow direction, ISN -> 0x10000000 * n (n=1.. in order of SYNs seen)
      vxsport(if norm.vxsport) VXLAN outer UDP source port -> 0xE001, ... per distinct port
      fragid every IPv6 fragment identification not in `fixed` -> 0xF0000001, ... one per (src, dst, identification)
      ports  (if norm.ports=[lo,hi]) TCP/UDP ports in lo..hi and ICMP echo ids, not in norm.known_ports -> 0xD001, ...
    Checksums that were valid before are made valid again; invalid ones are left alone."""
    def __init__(s, spec, fixed):
        s.spec, s.fixed = spec, fixed
        s.ids, s.isn, s.isnp, s.vx, s.pt, s.fids = {}, {}, {}, {}, {}, {}
        s.touched = []
    def mark(s, off, ln, why): s.touched.append([off, ln, why])
    def frame(s, raw, link):
        s.touched = []
        b = bytearray(raw)
        if link == "ether":
            o = 12
            while o + 24 <= len(b) and b[o:o + 2] in (b"\x81\x00", b"\x88\xa8"): o += 4
            if o + 22 <= len(b) and b[o:o + 2] == b"\x08\x00": s.ip(b, o + 2, len(b))
            elif o + 42 <= len(b) and b[o:o + 2] == b"\x86\xdd": s.ip6(b, o + 2, len(b))
        elif len(b) >= 40 and b[0] >> 4 == 6: s.ip6(b, 0, len(b))
        elif len(b) >= 20: s.ip(b, 0, len(b))
        return bytes(b), s.touched
    def ip6(s, b, o, end):
        if end - o < 40 or b[o] >> 4 != 6: return
        plen = struct.unpack_from("!H", b, o + 4)[0]
        whole = o + 40 + plen <= end
        e = min(end, o + 40 + plen)
        proto, p, complete = b[o + 6], o + 40, whole
        sip, dip = bytes(b[o + 8:o + 24]), bytes(b[o + 24:o + 40])
        while proto in (0, 43, 44, 51, 60):
            if p + 8 > e: return
            nxt, step = b[p], 8
            if proto == 44:
                fo, ident = struct.unpack_from("!HI", b, p + 2)
                if ident not in s.fixed:
                    n = s.fids.setdefault((sip, dip, ident), 0xF0000001 + len(s.fids))
                    struct.pack_into("!I", b, p + 4, n); s.mark(p + 4, 4, "ip6.fragid")
                if fo & 0xfff9: complete = False
                if fo & 0xfff8: return
            elif proto == 51: step = (b[p + 1] + 2) * 4
            else: step = (b[p + 1] + 1) * 8
            proto, p = nxt, p + step
        if e - p < 8: return
        pseudo = sip + dip + struct.pack("!IHBB", e - p, 0, 0, proto)
        if proto == 58:
            ok = complete and csum(pseudo + bytes(b[p:e])) == 0
            if b[p] < 128 or b[p] == 137: s.icmp6inner(b, p, e)
            elif b[p] in (128, 129): s.port(b, p + 4, True)
            if ok:
                struct.pack_into("!H", b, p + 2, 0)
                struct.pack_into("!H", b, p + 2, csum(pseudo + bytes(b[p:e])))
        elif proto == 17: s.udp(b, p, e, pseudo, complete)
        elif proto == 6: s.tcp(b, p, e, pseudo, complete, sip, dip)
        elif proto == 41: s.ip6(b, p, e)
        elif proto == 4: s.ip(b, p, e)
    def icmp6inner(s, b, p, e):
        if b[p] != 137: return s.ip6(b, p + 8, e)
        q = p + 40                                     # a redirect quotes the packet in option 4
        while q + 8 <= e and b[q + 1]:
            if b[q] == 4: s.ip6(b, q + 8, min(e, q + b[q + 1] * 8))
            q += b[q + 1] * 8
    def ip(s, b, o, end):
        if end - o < 20 or b[o] >> 4 != 4: return
        hl = (b[o] & 15) * 4
        if hl < 20 or o + hl > end: return
        tot = struct.unpack_from("!H", b, o + 2)[0]
        whole = o + tot <= end
        e = min(end, o + tot) if tot >= hl else end
        hok = csum(bytes(b[o:o + hl])) == 0
        ident, fo = struct.unpack_from("!HH", b, o + 4)
        proto = b[o + 9]
        p = o + hl
        first = (fo & 0x1fff) == 0
        complete = first and not (fo & 0x2000) and whole
        pseudo = bytes(b[o + 12:o + 20]) + struct.pack("!BBH", 0, proto, e - p)
        if first:
            if proto == 1 and e - p >= 8: s.icmp(b, p, e, complete)
            elif proto == 17 and e - p >= 8: s.udp(b, p, e, pseudo, complete)
            elif proto == 6 and e - p >= 8: s.tcp(b, p, e, pseudo, complete, bytes(b[o + 12:o + 16]), bytes(b[o + 16:o + 20]))
            elif proto == 4: s.ip(b, p, e)
            elif proto == 47 and e - p >= 4: s.gre(b, p, e, whole)
        if ident and ident not in s.fixed:
            n = s.ids.setdefault((bytes(b[o + 12:o + 20]), proto, ident), 0xF001 + len(s.ids))
            struct.pack_into("!H", b, o + 4, n); s.mark(o + 4, 2, "ip.id")
        if hok:
            struct.pack_into("!H", b, o + 10, 0)
            struct.pack_into("!H", b, o + 10, csum(bytes(b[o:o + hl])))
    def gre(s, b, p, e, whole):
        fl, pr = struct.unpack_from("!HH", b, p)
        h = p + 4 + (4 if fl & 0x8000 else 0) + (4 if fl & 0x2000 else 0) + (4 if fl & 0x1000 else 0)
        ok = whole and fl & 0x8000 and csum(bytes(b[p:e])) == 0
        if pr == 0x800: s.ip(b, h, e)
        elif pr == 0x6558 and b[h + 12:h + 14] == b"\x08\x00": s.ip(b, h + 14, e)
        if ok:
            struct.pack_into("!H", b, p + 4, 0)
            struct.pack_into("!H", b, p + 4, csum(bytes(b[p:e])))
    def icmp(s, b, p, e, complete):
        ok = complete and csum(bytes(b[p:e])) == 0
        t = b[p]
        if t in (3, 4, 5, 11, 12): s.ip(b, p + 8, e)
        elif t in (0, 8): s.port(b, p + 4, True)
        if ok:
            struct.pack_into("!H", b, p + 2, 0)
            struct.pack_into("!H", b, p + 2, csum(bytes(b[p:e])))
    def port(s, b, off, echo_id=False):
        r = s.spec.get("ports")
        if not r: return
        v = struct.unpack_from("!H", b, off)[0]
        if (echo_id or r[0] <= v <= r[1]) and v not in s.spec.get("known_ports", []):
            struct.pack_into("!H", b, off, s.pt.setdefault(v, 0xD001 + len(s.pt))); s.mark(off, 2, "l4.port")
    def udp(s, b, p, e, pseudo, complete):
        uc = struct.unpack_from("!H", b, p + 6)[0]
        ok = complete and uc != 0 and csum(pseudo + bytes(b[p:e])) == 0
        dport = struct.unpack_from("!H", b, p + 2)[0]
        s.port(b, p); s.port(b, p + 2)
        if dport == 6081 and e - p >= 16 + 14:
            if s.spec.get("vxsport"):
                v = struct.unpack_from("!H", b, p)[0]
                struct.pack_into("!H", b, p, s.vx.setdefault(v, 0xE001 + len(s.vx))); s.mark(p, 2, "geneve.sport")
            if b[p + 16 + 12:p + 16 + 14] == b"\x08\x00": s.ip(b, p + 30, e)
        if dport in (4789, 8472) and e - p >= 16 + 14:
            if s.spec.get("vxsport"):
                v = struct.unpack_from("!H", b, p)[0]
                struct.pack_into("!H", b, p, s.vx.setdefault(v, 0xE001 + len(s.vx))); s.mark(p, 2, "vxlan.sport")
            if b[p + 16 + 12:p + 16 + 14] == b"\x08\x00": s.ip(b, p + 30, e)
            elif b[p + 16 + 12:p + 16 + 14] == b"\x86\xdd": s.ip6(b, p + 30, e)
        if ok:
            struct.pack_into("!H", b, p + 6, 0)
            c = csum(pseudo + bytes(b[p:e])) or 0xffff
            struct.pack_into("!H", b, p + 6, c)
    def tcp(s, b, p, e, pseudo, complete, sip, dip):
        ok = complete and e - p >= 20 and csum(pseudo + bytes(b[p:e])) == 0
        if s.spec.get("tcp"):
            sp, dp, seq = struct.unpack_from("!HHI", b, p)
            k, rk = (sip, sp, dip, dp), (dip, dp, sip, sp)
            full = e - p >= 20
            fl = b[p + 13] if full else 0
            if full and fl & 2 and s.isn.get(k, (None,))[0] != seq:
                s.isn[k] = (seq, 0x10000000 * (len(s.isn) + 1) & 0xffffffff)
                s.isnp[(sip, sp)] = s.isn[k]
            # NAT seen from one side only: fall back to the last ISN of that (address, port), whoever the peer
            if k not in s.isn and (sip, sp) in s.isnp and not (fl & 2): s.isn[k] = s.isnp[(sip, sp)]
            if rk not in s.isn and (dip, dp) in s.isnp: s.isn[rk] = s.isnp[(dip, dp)]
            if k in s.isn and not (fl & 4 and seq == 0):
                r, n = s.isn[k]
                struct.pack_into("!I", b, p + 4, (seq - r + n) & 0xffffffff); s.mark(p + 4, 4, "tcp.seq")
            if full and fl & 16 and rk in s.isn:
                r, n = s.isn[rk]
                a = struct.unpack_from("!I", b, p + 8)[0]
                struct.pack_into("!I", b, p + 8, (a - r + n) & 0xffffffff); s.mark(p + 8, 4, "tcp.ack")
        s.port(b, p); s.port(b, p + 2)
        if ok:
            struct.pack_into("!H", b, p + 16, 0)
            struct.pack_into("!H", b, p + 16, csum(pseudo + bytes(b[p:e])))
def fixed_ids(sc):
    out = set()
    def walk(b, o):
        if len(b) - o < 20 or b[o] >> 4 != 4: return
        out.add(struct.unpack_from("!H", b, o + 4)[0])
        hl = (b[o] & 15) * 4
        if b[o + 9] == 4: walk(b, o + hl)
        elif b[o + 9] == 1: walk(b, o + hl + 8)
        elif b[o + 9] == 17: walk(b, o + hl + 8 + 8 + 14)
    def walk6(b, o):                                   # identifications of fragment headers
        if len(b) - o < 40: return
        n, p = b[o + 6], o + 40
        while n in (0, 43, 44, 51, 60) and p + 8 <= len(b):
            if n == 44:
                out.add(struct.unpack_from("!I", b, p + 4)[0]); n, p = b[p], p + 8
            else: n, p = b[p], p + ((b[p + 1] + 2) * 4 if n == 51 else (b[p + 1] + 1) * 8)
    for st in sc["steps"]:
        if st["op"] == "frame":
            b = bytes.fromhex(st["hex"])
            if b[12:14] == b"\x08\x00": walk(b, 14)
            elif b[12:14] == b"\x86\xdd": walk6(b, 14)
    out.discard(0)
    return out

# ---------------------------------------------------------------- the lab
BASE_SYSCTL = {  # written in every namespace before any device exists; src/lab/base.ts has the same
    "net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1,
    "net.ipv4.ip_forward": 0,
    "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.icmp_ratelimit": 0, "net.ipv4.icmp_msgs_per_sec": 1000000, "net.ipv4.icmp_msgs_burst": 10000,
    "net.ipv4.tcp_timestamps": 0,
    "net.ipv4.tcp_rmem": "4096 131072 6291456", "net.ipv4.tcp_wmem": "4096 16384 4194304",  # else sized by RAM: window scale differs
    "net.ipv4.tcp_no_metrics_save": 1,
    "net.bridge.bridge-nf-call-iptables": 0, "net.bridge.bridge-nf-call-ip6tables": 0,
    "net.bridge.bridge-nf-call-arptables": 0,
}
BASE_SYSCTL6 = {  # instead of the first two, when the scenario says "ipv6": true; src/lab/base.ts has the same
    "net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.default.disable_ipv6": 0,
    "net.ipv6.conf.default.accept_dad": 0, "net.ipv6.conf.all.enhanced_dad": 0, "net.ipv6.conf.default.enhanced_dad": 0,
    "net.ipv6.conf.default.accept_ra": 0, "net.ipv6.conf.default.router_solicitations": 0,
    "net.ipv6.auto_flowlabels": 0, "net.ipv6.icmp.ratelimit": 0,
}
IPV6_SETTLE_S = 2.6  # MLD reports of the set-up are over by then
BASE_NEIGH = {"delay_first_probe_time": 120, "proxy_delay": 0, "locktime": 0}  # for every device (no probes during a run)
class Lab:
    def __init__(s, sc, backend=None):
        s.sc = sc
        s.backend = backend or sc.get("backend", "legacy")
        s.sn = {}; s.ifn = {}; s.linkt = {}; s.socks = {}; s.nsof = {}; s.tx = {}; s.events = []; s.ops = []; s.order = 0; s.ring = {}
    # -- build
    def ns_exec(s, ns, args, inp=None, check=True):
        return sh(["ip", "netns", "exec", PFX + ns] + args, inp, check)
    def sysctl(s, ns, kv, soft=False):
        with InNs(ns):
            for k, v in kv.items():
                p = "/proc/sys/" + (k if "/" in k else k.replace(".", "/"))
                try:
                    with open(p, "w") as f: f.write(str(v))
                except OSError as ex:
                    if not soft: raise RuntimeError("sysctl %s in %s: %s" % (k, ns, ex))
    def build(s):
        sc = s.sc
        for ns in sc["netns"]:
            sh(["ip", "netns", "del", PFX + ns], check=False)
        for ns in sc["netns"]:
            sh(["ip", "netns", "add", PFX + ns])
            s.sysctl(ns, base_sysctl(sc), soft=True)
        batch = {ns: [] for ns in sc["netns"]}
        for l in sc.get("links", []):
            (na, da, ma), (nb, db, mb) = l["a"], l["b"]
            sh(["ip", "-n", PFX + na, "link", "add", da, "address", ma, "mtu", str(l.get("mtu", 1500)), "type", "veth",
                "peer", "name", db, "address", mb, "mtu", str(l.get("mtu", 1500)), "netns", PFX + nb])
        for d in sc.get("devices", []):
            s.ns_exec(d["ns"], ["ip"] + device_cmd(d).split())
        for ns in sc["netns"]:
            b = batch[ns]
            r = json.loads(sh(["ip", "-n", PFX + ns, "-j", "link"]).stdout)
            names = [x["ifname"] for x in r if x["ifname"] not in ("tunl0",) or ns in sc.get("tunl0", [])]
            for x in names:
                if x != "lo":
                    s.ns_exec(ns, ["ethtool", "-K", x, "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off"], check=False)
            s.names = names
            ups = sc.get("down", [])
            for p in sc.get("ports", []):
                if p["ns"] == ns: b.append("link set %s master %s" % (p["dev"], p["bridge"]))
            for x in names:
                if ns + "/" + x not in ups: b.append("link set %s up" % x)
            for a in sc.get("addrs", []):
                if a["ns"] == ns: b.append("addr add %s dev %s %s" % (a["addr"], a["dev"], a.get("opts", "")))
            if b: sh(["ip", "-n", PFX + ns, "-batch", "-"], "\n".join(b) + "\n")
        t0 = time.time()      # wait for carriers and bridge ports (linkwatch is asynchronous)
        while time.time() - t0 < 5:
            bad = 0
            for ns in sc["netns"]:
                for x in json.loads(sh(["ip", "-n", PFX + ns, "-j", "link"]).stdout):
                    if x["ifname"] == "lo" or ns + "/" + x["ifname"] in sc.get("down", []) or x["ifname"] in ("tunl0",): continue
                    if x["operstate"] not in ("UP", "UNKNOWN"): bad += 1
                if any(p["ns"] == ns for p in sc.get("ports", [])):
                    for x in json.loads(s.ns_exec(ns, ["bridge", "-j", "link"]).stdout or "[]"):
                        if x.get("state") != "forwarding": bad += 1
            if not bad: break
            time.sleep(0.05)
        if bad: print("warning: some links never came up in", sc["name"], file=sys.stderr)
        for ns in sc["netns"]:
            with InNs(ns): devs = os.listdir("/proc/sys/net/ipv4/neigh")
            for d in devs: s.sysctl(ns, {("net/ipv4/neigh/%s/" % d) + k: v for k, v in BASE_NEIGH.items()})
            if sc.get("ipv6"):
                for d in devs: s.sysctl(ns, {("net/ipv6/neigh/%s/" % d) + k: v for k, v in BASE_NEIGH.items()}, soft=True)
        for ns, kv in sc.get("sysctl", {}).items(): s.sysctl(ns, kv)
        for ns in sc["netns"]:
            b = []
            for r in sc.get("routes", []):
                if r["ns"] == ns: b.append("route add " + route_cmd(r))
            for r in sc.get("rules", []):
                if r["ns"] == ns: b.append("rule add " + r["rule"])
            for n in sc.get("neigh", []):
                if n["ns"] == ns: b.append("neigh replace %s lladdr %s dev %s nud %s" % (n["ip"], n["mac"], n["dev"], n.get("nud", "permanent")))
            if b: sh(["ip", "-n", PFX + ns, "-batch", "-"], "\n".join(b) + "\n")
            b = []
            for p in sc.get("ports", []):
                if p["ns"] == ns and p.get("flags"):
                    b.append("link set dev %s %s" % (p["dev"], p["flags"]))  # bridge(8) syntax, e.g. "hairpin on"
            for f in sc.get("fdb", []):
                if f["ns"] == ns: b.append("fdb append %s dev %s %s" % (f["mac"], f["dev"], f.get("opts", "")))
            if b: s.ns_exec(ns, ["bridge", "-batch", "-"], "\n".join(b) + "\n")
        for ns, t in sc.get("ipset", {}).items(): s.ns_exec(ns, ["ipset", "restore"], t)
        for ns, t in sc.get("iptables", {}).items(): s.iptables(ns, t)
        for ns, t in sc.get("ipvs", {}).items(): s.ns_exec(ns, ["ipvsadm", "-R"], t)
        for ns, t in sc.get("ip6tables", {}).items(): s.ip6tables(ns, t)
        for ns, t in sc.get("nft", {}).items(): s.ns_exec(ns, ["nft", "-f", "-"], t)
        if sc.get("ipv6"): time.sleep(IPV6_SETTLE_S)
    def iptables(s, ns, text, extra=()):
        s.ns_exec(ns, ["iptables-%s-restore" % s.backend] + list(extra), text)
    def ip6tables(s, ns, text, extra=()):
        s.ns_exec(ns, ["ip6tables-%s-restore" % s.backend] + list(extra), text)
    # -- capture: one PACKET_RX_RING (TPACKET_V2) per namespace, every interface.  A ring, not recv(): the kernel copies
    #    the frame when the tap sees it; recv() copies later, and forwarding may by then have written into the shared
    #    buffer (seen: the TTL of re-fragmented fragments).
    FS, FN = 4096, 4096
    def start(s):
        for ns in s.sc["netns"]:
            with InNs(ns):
                k = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))  # unbound: every interface
                k.setsockopt(SOL_PACKET, 10, 1)                                                # PACKET_VERSION = TPACKET_V2
                k.setsockopt(SOL_PACKET, 5, struct.pack("IIII", 1 << 16, s.FS * s.FN >> 16, s.FS, s.FN))   # PACKET_RX_RING
                m = mmap.mmap(k.fileno(), s.FS * s.FN)
                k.setblocking(False)
                s.sn[ns] = k; s.ring[ns] = [m, 0]
        for ns in s.sc["netns"]: s.ifname_load(ns)
    def drain(s, step, out):
        n = 0
        for ns, rg in s.ring.items():
            m = rg[0]
            while True:
                o = rg[1] * s.FS
                st, ln, sl, mac, net, sec, nsec, tci, tpid = struct.unpack_from("<IIIHHIIHH", m, o)
                if not st & 1: break
                fam, proto, idx, ha, pkt = struct.unpack_from("<HHiHB", m, o + 32)
                data = bytes(m[o + mac:o + mac + sl])
                struct.pack_into("<I", m, o, 0); rg[1] = (rg[1] + 1) % s.FN
                if st & 4: s.lost = True
                if (ns, idx) not in s.ifn: s.ifname_load(ns)
                name = s.ifn[(ns, idx)]; key = ns + "/" + name
                if st & 0x10 and s.linkt[key] == "ether":      # VLAN tag was stripped: put it back
                    data = data[:12] + struct.pack("!HH", tpid if st & 0x40 else 0x8100, tci) + data[12:]
                if name == "lo" and not s.sc.get("capture_lo"): n += 1; continue
                if st & 8: s.csum_partial = True
                n += 1; s.order += 1
                out.append((sec * 10**9 + nsec, s.order, step, key, "tx" if pkt == 4 else "rx", data))
        return n
    def ifname_load(s, ns):
        for x in json.loads(sh(["ip", "-n", PFX + ns, "-j", "link"]).stdout):
            s.linkt[ns + "/" + x["ifname"]] = "ether" if x["link_type"] in ("ether", "loopback") else "ip"
            s.ifn[(ns, x["ifindex"])] = x["ifname"]
    def settle(s, step, quiet, maxms=6000):
        out = []
        t0 = last = time.monotonic()
        while True:
            r, _, _ = select.select(list(s.sn.values()), [], [], quiet / 1000.0)
            if r:
                if s.drain(step, out): last = time.monotonic()
            now = time.monotonic()
            if now - last >= quiet / 1000.0 or now - t0 > maxms / 1000.0: break
        out.sort(key=lambda x: (x[0], x[1]))
        s.events += out
    # -- steps
    def txsock(s, ns, dev):
        k = (ns, dev)
        if k not in s.tx:
            with InNs(ns):
                t = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                t.bind((dev, 0))
                s.tx[k] = t
        return s.tx[k]
    def mk(s, ns, typ, proto=0, v6=False):
        with InNs(ns): k = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, typ, proto)
        k.setblocking(False)
        return k
    def sa(s, ns, a, v6=False):
        """A socket address; IPv6 ones may name a device: fe80::1%eth0.  An IPv4 one for an IPv6 socket is mapped."""
        h, p = a[0], a[1] if len(a) > 1 else 0
        if ":" not in h: return ("::ffff:" + h, p, 0, 0) if v6 and h else (("::", p, 0, 0) if v6 else (h, p))
        scope = 0
        if "%" in h:
            h, d = h.split("%")
            with InNs(ns): scope = socket.if_nametoindex(d)
        return (h, p, 0, scope)
    def peer(s, ns, a):
        """[address, port] as a recording has it; a link-local one names its device."""
        if len(a) < 4: return list(a)
        h = a[0].split("%")[0]
        if a[3]:
            with InNs(ns): h += "%" + socket.if_indextoname(a[3])
        return [h, a[1]]
    def v6opts(s, k, st):
        k.setsockopt(41, 23, st.get("pmtudisc", 1))    # IPV6_MTU_DISCOVER
        if "tos" in st: k.setsockopt(41, 67, st["tos"])
        if "ttl" in st: k.setsockopt(41, 16, st["ttl"])
        if "v6only" in st: k.setsockopt(41, 26, 1 if st["v6only"] else 0)
        if "mark" in st: k.setsockopt(socket.SOL_SOCKET, 36, st["mark"])
    def do(s, st):
        op = st["op"]; S = s.socks
        if op == "frame": s.txsock(st["ns"], st["dev"]).send(bytes.fromhex(st["hex"])); return None
        if op == "wait": time.sleep(st["ms"] / 1000.0); return None
        if op == "cmd":
            r = s.ns_exec(st["ns"], st["argv"], st.get("stdin"), check=not st.get("may_fail"))
            return {"rc": r.returncode}
        if op == "iptables": s.iptables(st["ns"], st["text"], st.get("args", [])); return None
        if op == "ip6tables": s.ip6tables(st["ns"], st["text"], st.get("args", [])); return None
        if op == "udp_open" and ":" in st["bind"][0]:
            k = s.mk(st["ns"], socket.SOCK_DGRAM, 0, True); k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.v6opts(k, st)
            k.bind(s.sa(st["ns"], st["bind"], True))
            if "connect" in st: k.connect(s.sa(st["ns"], st["connect"], True))
            S[st["id"]] = k; s.nsof[st["id"]] = st["ns"]; return None
        if op == "udp_open":
            k = s.mk(st["ns"], socket.SOCK_DGRAM); k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            k.setsockopt(socket.IPPROTO_IP, 10, st.get("pmtudisc", 1))  # IP_MTU_DISCOVER: 0 DONT(DF=0) 1 WANT 2 DO
            if "tos" in st: k.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, st["tos"])
            if "ttl" in st: k.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, st["ttl"])
            if "mark" in st: k.setsockopt(socket.SOL_SOCKET, 36, st["mark"])
            if st.get("broadcast"): k.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            k.bind(tuple(st["bind"]))
            if "connect" in st: k.connect(tuple(st["connect"]))
            S[st["id"]] = k; return None
        if op == "udp_send":
            k = S[st["id"]]; d = bytes.fromhex(st["data"]) if "data" in st else bytes((i * 7 + 1) & 255 for i in range(st["len"]))
            if k.family == socket.AF_INET6 and "to" in st: return {"sent": k.sendto(d, s.sa(s.nsof[st["id"]], st["to"], True))}
            return {"sent": k.sendto(d, tuple(st["to"])) if "to" in st else k.send(d)}
        if op == "udp_recv":
            k = S[st["id"]]; d, a = k.recvfrom(65535)
            if st.get("reply"): k.sendto(d, a)
            return {"from": s.peer(s.nsof.get(st["id"]), a), "data": d.hex() if len(d) <= 256 else "len:%d" % len(d)}
        if op == "ping" and ":" in st["dst"]:
            kid = st.get("sock", "ping6-" + st["ns"])
            if kid not in S:
                k = s.mk(st["ns"], socket.SOCK_RAW, socket.IPPROTO_ICMPV6, True)
                k.setsockopt(58, 1, b"\xff" * 32)       # ICMP6_FILTER: deliver nothing
                k.setsockopt(41, 23, st.get("pmtudisc", 1))
                if "src" in st: k.bind(s.sa(st["ns"], [st["src"], 0], True))
                S[kid] = k
            k = S[kid]
            k.setsockopt(41, 16, st.get("ttl", 64)); k.setsockopt(41, 67, st.get("tos", 0))
            body = bytes.fromhex(st["data"]) if "data" in st else bytes((i & 255) for i in range(st.get("len", 16)))
            return {"sent": k.sendto(struct.pack("!BBHHH", 128, 0, 0, st["icmp_id"], st["seq"]) + body, s.sa(st["ns"], [st["dst"], 0], True))}
        if op == "ping":
            kid = st.get("sock", "ping-" + st["ns"])
            if kid not in S:
                k = s.mk(st["ns"], socket.SOCK_RAW, socket.IPPROTO_ICMP)
                k.setsockopt(255, 1, struct.pack("I", 0xffffffff))  # ICMP_FILTER: deliver nothing
                k.setsockopt(socket.IPPROTO_IP, 10, st.get("pmtudisc", 1))
                if "src" in st: k.bind((st["src"], 0))
                S[kid] = k
            k = S[kid]
            k.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, st.get("ttl", 64))
            k.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, st.get("tos", 0))
            body = bytes.fromhex(st["data"]) if "data" in st else bytes((i & 255) for i in range(st.get("len", 16)))
            m = struct.pack("!BBHHH", 8, 0, 0, st["icmp_id"], st["seq"]) + body
            m = m[:2] + struct.pack("!H", csum(m)) + m[4:]
            return {"sent": k.sendto(m, (st["dst"], 0))}
        if op == "tcp_listen":
            v6 = ":" in st["bind"][0]
            k = s.mk(st["ns"], socket.SOCK_STREAM, 0, v6); k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if "v6only" in st: k.setsockopt(41, 26, 1 if st["v6only"] else 0)
            k.bind(s.sa(st["ns"], st["bind"], v6)); k.listen(16); S[st["id"]] = k; s.nsof[st["id"]] = st["ns"]; return None
        if op == "tcp_connect":
            v6 = ":" in st["bind"][0]
            k = s.mk(st["ns"], socket.SOCK_STREAM, 0, v6); k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            k.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            k.bind(s.sa(st["ns"], st["bind"], v6))
            S[st["id"]] = k
            e = k.connect_ex(s.sa(st["ns"], st["to"], v6)); return None if e == errno.EINPROGRESS else {"errno": errno.errorcode.get(e, e)}
        if op == "tcp_status":
            e = S[st["id"]].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR); return {"error": errno.errorcode.get(e, e)}
        if op == "tcp_accept":
            k, a = S[st["id"]].accept(); k.setblocking(False); k.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            S[st["as"]] = k; return {"from": s.peer(s.nsof.get(st["id"]), a)}
        if op == "tcp_send":
            d = bytes.fromhex(st["data"]) if "data" in st else bytes((i * 7 + 1) & 255 for i in range(st["len"]))
            return {"sent": S[st["id"]].send(d)}
        if op == "tcp_recv":
            d = S[st["id"]].recv(1 << 20); return {"data": d.hex() if len(d) <= 256 else "len:%d" % len(d)}
        if op == "close": S.pop(st["id"]).close(); return None
        if op == "tcp_shutdown": S[st["id"]].shutdown(socket.SHUT_WR); return None
        raise RuntimeError("op " + op)
    def run(s):
        q = s.sc.get("quiet_ms", 25)
        s.settle(-1, 30)           # frames caused by the set-up itself are step -1 (normally none)
        for i, st in enumerate(s.sc["steps"]):
            try: r = s.do(st)
            except OSError as ex: r = {"errno": errno.errorcode.get(ex.errno, ex.errno)}
            except KeyError as ex: r = {"errno": "NOSOCK"}
            s.settle(i, st.get("quiet_ms", q))
            if r is not None: s.ops.append({"step": i, "op": st["op"], **r})
    def state(s):
        out = {}
        for q in s.sc.get("state", []):
            ns, kind = q["ns"], q["kind"]
            if kind == "conntrack":
                t = s.ns_exec(ns, ["conntrack", "-L"], check=False).stdout
                v = sorted(re.sub(r"^(\w+\s+\d+) \d+ ", r"\1 ", re.sub(r" use=\d+", "", re.sub(r" id=\d+", "", l.strip()))) for l in t.splitlines())
            elif kind == "iptables":
                t = s.ns_exec(ns, ["iptables-%s-save" % s.backend, "-c"]).stdout
                v = [l for l in t.splitlines() if not l.startswith("#")]
            elif kind == "ipvs":
                v = s.ns_exec(ns, ["ipvsadm", "-Ln"]).stdout.splitlines()
                t = [l.split() for l in s.ns_exec(ns, ["ipvsadm", "-Lnc"]).stdout.splitlines()[2:]]
                v += sorted(" ".join(["conn", l[0]] + l[2:]) for l in t)
            elif kind == "neigh":
                j = json.loads(s.ns_exec(ns, ["ip", "-j", "-4", "neigh"]).stdout or "[]")
                v = sorted("%s dev %s %s %s" % (x["dst"], x.get("dev"), x.get("lladdr", "-"), ",".join(x["state"])) for x in j)
            elif kind == "neigh6":
                j = json.loads(s.ns_exec(ns, ["ip", "-j", "-6", "neigh"]).stdout or "[]")
                v = sorted("%s dev %s %s %s" % (x["dst"], x.get("dev"), x.get("lladdr", "-"), ",".join(["router"] * ("router" in x) + x["state"])) for x in j)
            elif kind == "ip6tables":
                t = s.ns_exec(ns, ["ip6tables-%s-save" % s.backend, "-c"]).stdout
                v = [l for l in t.splitlines() if not l.startswith("#")]
            elif kind == "fdb":
                t = s.ns_exec(ns, ["bridge", "fdb"]).stdout
                v = sorted(l.strip() for l in t.splitlines() if not l.startswith(("33:33", "01:00:5e", "01:80:c2")))
            elif kind == "routes":
                v = s.ns_exec(ns, ["ip", "route", "show", "table", q.get("table", "main")]).stdout.strip().splitlines()
            elif kind == "cmd":
                v = s.ns_exec(ns, q["argv"], check=False).stdout.splitlines()
            elif kind == "snmp":
                with InNs(ns): L = open("/proc/thread-self/net/snmp").read().splitlines() + open("/proc/thread-self/net/netstat").read().splitlines()
                v = {}
                for a, b in zip(L[::2], L[1::2]):
                    p = a.split(":")[0]
                    for k, x in zip(a.split()[1:], b.split()[1:]):
                        if x != "0" and p in ("Ip", "Icmp", "Udp", "IpExt"): v[p + "." + k] = int(x)
                for k in list(v):
                    if k.split(".")[1] in ("DefaultTTL", "Forwarding"): del v[k]
            out["%s:%s" % (ns, kind if kind != "cmd" else " ".join(q["argv"]))] = v
        return out
    def close(s):
        for m, _ in s.ring.values(): m.close()
        s.ring.clear()
        for d in (s.socks, s.tx, s.sn):
            for k in d.values():
                try: k.close()
                except OSError: pass
            d.clear()
        for ns in s.sc["netns"]: sh(["ip", "netns", "del", PFX + ns], check=False)
def base_sysctl(sc):
    return {**BASE_SYSCTL, **BASE_SYSCTL6} if sc.get("ipv6") else BASE_SYSCTL
def device_cmd(d):
    c = "link add "
    if d.get("link"): c += "link %s " % d["link"]
    c += "name %s " % d["name"]
    if d.get("netns"): c += "netns %s " % (PFX + d["netns"])
    if d.get("mac"): c += "address %s " % d["mac"]
    if d.get("mtu"): c += "mtu %d " % d["mtu"]
    c += "type %s " % d["type"]
    if d["type"] == "bridge":
        c += "stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time %d " % d.get("ageing_cs", 30000)
    if d["type"] == "vxlan":
        c += "id %d dstport %d " % (d["vni"], d.get("dstport", 8472))
        for k in ("local", "remote", "dev", "ttl", "tos", "df"):
            if d.get(k) is not None: c += "%s %s " % (k, d[k])
        if "srcport" in d: c += "srcport %d %d " % tuple(d["srcport"])
        c += "learning " if d.get("learning") else "nolearning "
        c += "udpcsum " if d.get("udpcsum") else "noudpcsum "
    if d["type"] == "ipip":
        for k in ("local", "remote", "dev", "ttl", "tos"):
            if k in d: c += "%s %s " % (k, d[k])
        if d.get("nopmtudisc"): c += "nopmtudisc "
    return c + d.get("opts", "")
def route_cmd(r):
    c = ""
    if r.get("type", "unicast") != "unicast": c += r["type"] + " "
    c += r["dst"]
    if r.get("tos"): c += " tos %s" % r["tos"]
    if "via" in r: c += " via " + r["via"]
    if "dev" in r: c += " dev " + r["dev"]
    if "src" in r: c += " src " + r["src"]
    if "table" in r: c += " table %s" % r["table"]
    if "metric" in r: c += " metric %d" % r["metric"]
    if "scope" in r: c += " scope " + r["scope"]
    if r.get("onlink"): c += " onlink"
    if "mtu" in r: c += " mtu %s" % r["mtu"]
    for n in r.get("nexthops", []):
        c += " nexthop" + (" via " + n["via"] if "via" in n else "") + " dev " + n["dev"] + " weight %d" % n.get("weight", 1)
    return c
def run_scenario(sc, backend=None, cpu=0, lab_class=Lab):
    os.sched_setaffinity(0, {cpu})
    lab = lab_class(sc, backend)
    try:
        lab.build(); lab.start(); lab.run()
        state = lab.state()
    finally: lab.close()
    fixed = fixed_ids(sc)
    spec = sc.get("norm", {})
    norms, ifaces, raw, ev, vol = {}, {}, {}, [], []
    for ts, od, step, key, d, data in lab.events:
        n = norms.setdefault(key, Norm(spec, fixed))
        f, touched = n.frame(data, lab.linkt[key])
        i = len(ifaces.setdefault(key, []))
        ifaces[key].append(f.hex()); raw.setdefault(key, []).append(data.hex())
        ev.append([step, key, d, i])
        if touched: vol.append([key, i, touched])
    for l in lab.linkt:
        if not l.endswith("/lo"): ifaces.setdefault(l, [])
    return {"scenario": sc["name"], "title": sc.get("title", ""), "kernel": os.uname().release, "iptables_backend": lab.backend if sc.get("iptables") else None,
            "link_types": {k: lab.linkt.get(k, "ether") for k in ifaces},
            "ifaces": ifaces, "events": ev, "ops": lab.ops, "state": state,
            "volatile": vol, "raw": {k: v for k, v in raw.items() if v != ifaces[k]},
            "csum_partial_seen": getattr(lab, "csum_partial", False)}

# ---------------------------------------------------------------- main
def main():
    # SIGTERM too leaves no namespaces behind: the exit runs the finally above
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sc = json.load(sys.stdin)
    try: r = run_scenario(sc)
    except RuntimeError as ex:
        print(str(ex).replace("\n", " "), file=sys.stderr); sys.exit(3)
    json.dump(r, sys.stdout); sys.stdout.write("\n")
if __name__ == "__main__": main()
