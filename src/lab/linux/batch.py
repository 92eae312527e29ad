#!/usr/bin/env python3
"""Records many small kernel-lab scenarios in one process: reads one JSON scenario a line on stdin, answers one JSON line
each: {"result": RECORDING} or {"refused": "MESSAGE"} (a command of the scenario failed).

Started by src/lab/hunt/pool.ts.  Same recording as recorder.py, whose Lab, Norm and result form it uses; what differs is
how namespaces are built, for speed: unshare + bind mount instead of `ip netns add`, commands run with setns instead of
`ip netns exec`, offloads switched by ioctl, one `ip -batch` per namespace and phase, small rings, waiting by IFF_RUNNING.
Argument 1: the CPU to pin to (default 0).  Same needs as recorder.py.
"""
import sys, os, json, socket, struct, subprocess, time, ctypes, fcntl, signal, array, mmap, threading
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import recorder
from recorder import InNs, libc, BASE_SYSCTL, BASE_NEIGH, CLONE_NEWNET, PFX
MS_BIND, MNT_DETACH = 0x1000, 2
SIOCETHTOOL, SIOCGIFFLAGS, SIOCGIFINDEX = 0x8946, 0x8913, 0x8933
ETHTOOL_OFF = (0x17, 0x19, 0x1F, 0x24, 0x2C)  # STXCSUM SSG STSO SGSO SGRO
IFF_RUNNING = 0x40
RUN = "/run/netns/"

class FastLab(recorder.Lab):
    FS, FN = 4096, 512

    def ns_exec(s, ns, args, inp=None, check=True):
        with InNs(ns):
            return recorder.sh(args, inp, check)

    def batch(s, ns, tool, lines):
        if lines: s.ns_exec(ns, [tool, "-batch", "-"], "\n".join(lines) + "\n")

    def add_netns(s, ns):
        path = RUN + PFX + ns
        os.makedirs(RUN, exist_ok=True)
        open(path, "w").close()
        if libc.unshare(CLONE_NEWNET): raise OSError(ctypes.get_errno(), "unshare")
        try:
            if libc.mount(b"/proc/thread-self/ns/net", path.encode(), b"none", MS_BIND, None):
                raise OSError(ctypes.get_errno(), "mount")
        finally:
            libc.setns(InNs._self, CLONE_NEWNET)
        s.made.append(path)

    def build(s):
        sc = s.sc
        s.made, s.index = [], 100
        if InNs._self is None: InNs._self = os.open("/proc/self/ns/net", os.O_RDONLY)
        for ns in sc["netns"]:
            s.add_netns(ns)
            s.sysctl(ns, BASE_SYSCTL, soft=True)
            with InNs(ns): s.sn[ns] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.ring_thread()
        names = {ns: ["lo"] for ns in sc["netns"]}
        add = {ns: [] for ns in sc["netns"]}
        for l in sc.get("links", []):
            (na, da, ma), (nb, db, mb) = l["a"], l["b"]
            m = l.get("mtu", 1500)
            # own indexes: linkwatch delays the carrier of a veth whose peer has the same index in its namespace by up to 1 s
            s.index += 2
            add[na].append("link add %s address %s mtu %d index %d type veth peer name %s address %s mtu %d index %d netns %s"
                           % (da, ma, m, s.index, db, mb, m, s.index + 1, PFX + nb))
            names[na].append(da); names[nb].append(db)
        for ns in sc["netns"]: s.batch(ns, "ip", add[ns])
        for d in sc.get("devices", []):
            s.ns_exec(d["ns"], ["ip"] + recorder.device_cmd(d).split())
            names[d["ns"]].append(d["name"])
        down = sc.get("down", [])
        for ns in sc["netns"]:
            with InNs(ns):
                k = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for x in names[ns]:
                    if x == "lo": continue
                    for cmd in ETHTOOL_OFF:
                        v = array.array("B", struct.pack("II", cmd, 0))
                        try: fcntl.ioctl(k, SIOCETHTOOL, struct.pack("16sP16x", x.encode(), v.buffer_info()[0]))
                        except OSError: pass
                k.close()
            b = ["link set %s master %s" % (p["dev"], p["bridge"]) for p in sc.get("ports", []) if p["ns"] == ns]
            b += ["link set %s up" % x for x in names[ns] if ns + "/" + x not in down]
            b += ["addr add %s dev %s %s" % (a["addr"], a["dev"], a.get("opts", "")) for a in sc.get("addrs", []) if a["ns"] == ns]
            s.batch(ns, "ip", b)
        s.wait_running(names, down)
        for ns in sc["netns"]:
            kv = {}
            for d in names[ns]:
                for k, v in BASE_NEIGH.items(): kv["net/ipv4/neigh/%s/%s" % (d, k)] = v
            s.sysctl(ns, kv)
        for ns, kv in sc.get("sysctl", {}).items(): s.sysctl(ns, kv)
        for ns in sc["netns"]:
            b = ["route add " + recorder.route_cmd(r) for r in sc.get("routes", []) if r["ns"] == ns]
            b += ["rule add " + r["rule"] for r in sc.get("rules", []) if r["ns"] == ns]
            b += ["neigh replace %s lladdr %s dev %s nud %s" % (n["ip"], n["mac"], n["dev"], n.get("nud", "permanent"))
                  for n in sc.get("neigh", []) if n["ns"] == ns]
            s.batch(ns, "ip", b)
            b = ["link set dev %s %s" % (p["dev"], p["flags"]) for p in sc.get("ports", []) if p["ns"] == ns and p.get("flags")]
            b += ["fdb append %s dev %s %s" % (f["mac"], f["dev"], f.get("opts", "")) for f in sc.get("fdb", []) if f["ns"] == ns]
            s.batch(ns, "bridge", b)
        for ns, t in sc.get("ipset", {}).items(): s.ns_exec(ns, ["ipset", "restore"], t)
        for ns, t in sc.get("iptables", {}).items(): s.iptables(ns, t)
        for ns, t in sc.get("ipvs", {}).items(): s.ns_exec(ns, ["ipvsadm", "-R"], t)
        for ns, t in sc.get("nft", {}).items(): s.ns_exec(ns, ["nft", "-f", "-"], t)
        s.all_names = names

    def wait_running(s, names, down):
        end = time.monotonic() + 1
        todo = [(ns, x) for ns in names for x in names[ns] if x != "lo" and ns + "/" + x not in down]
        while todo and time.monotonic() < end:
            left = []
            for ns in {n for n, _ in todo}:
                with InNs(ns):
                    k = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    for n, x in todo:
                        if n != ns: continue
                        r = fcntl.ioctl(k, SIOCGIFFLAGS, struct.pack("16s24x", x.encode()))
                        if not struct.unpack_from("H", r, 16)[0] & IFF_RUNNING: left.append((n, x))
                    k.close()
            todo = left
            if todo: time.sleep(0.001)
        # the notifiers of the last carrier event run under RTNL after the flag is set: a bridge port forwards after them
        time.sleep(0.001)

    def ifname_load(s, ns):
        with InNs(ns):
            k = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for x in s.all_names[ns]:
                r = fcntl.ioctl(k, SIOCGIFINDEX, struct.pack("16s24x", x.encode()))
                s.ifn[(ns, struct.unpack_from("i", r, 16)[0])] = x
                s.linkt[ns + "/" + x] = "ether"
            k.close()

    def ring_thread(s):
        # PACKET_RX_RING waits for a grace period: all rings at once, beside the building; not bound, so not running yet
        for k in s.sn.values(): k.setsockopt(recorder.SOL_PACKET, 10, 1)
        req = struct.pack("IIII", 1 << 16, s.FS * s.FN >> 16, s.FS, s.FN)
        def one(k): libc.setsockopt(k.fileno(), recorder.SOL_PACKET, 5, req, len(req))  # ctypes gives up the GIL
        s.ringers = [threading.Thread(target=one, args=(k,)) for k in s.sn.values()]
        for t in s.ringers: t.start()

    def start(s):
        for t in s.ringers: t.join()
        for ns, k in s.sn.items():
            s.ring[ns] = [mmap.mmap(k.fileno(), s.FS * s.FN), 0]
            ll = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(recorder.ETH_P_ALL), 0, 0, 0, 0, b"")
            with InNs(ns):
                if libc.bind(k.fileno(), ll, len(ll)): raise OSError(ctypes.get_errno(), "bind of the packet socket")
            k.setblocking(False)
            s.ifname_load(ns)

    def settle(s, step, quiet, maxms=6000):
        super().settle(step, min(quiet, 2) if step < 0 else quiet, maxms)

    def close(s):
        for t in getattr(s, "ringers", []): t.join()
        socks = [k for d in (s.socks, s.tx, s.sn) for k in d.values()]
        rings = [m for m, _ in s.ring.values()]
        for d in (s.ring, s.socks, s.tx, s.sn): d.clear()
        # closing a packet socket waits for RCU grace periods: beside the next lab
        t = threading.Thread(target=close_all, args=(rings, socks))
        t.start()
        for path in getattr(s, "made", []):
            libc.umount2(path.encode(), MNT_DETACH)
            try: os.unlink(path)
            except OSError: pass

def close_all(rings, socks):
    for m in rings: m.close()
    for k in socks:
        try: k.close()
        except OSError: pass

def main():
    cpu = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try: os.nice(5)
    except OSError: pass
    for line in sys.stdin:
        try: answer = {"result": recorder.run_scenario(json.loads(line), cpu=cpu, lab_class=FastLab)}
        except RuntimeError as ex: answer = {"refused": str(ex).replace("\n", " ")}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
if __name__ == "__main__": main()
