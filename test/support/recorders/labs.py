#!/usr/bin/env python3
"""Records kernel-lab scenarios: labs.py FILE... writes golden/NAME.json beside each scenarios/NAME.json.
With -t NAME COMMANDS: records a transcript of the tools instead (one command a line) into tools/NAME.json.
Run it as root, on this kernel, or on User-Mode Linux through uml.sh for modules that this kernel lacks.
"""
import sys, os, json, subprocess
HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "../../fixtures/kernel-lab")
sys.path.insert(0, os.path.join(HERE, "../../../src/lab/linux"))
import recorder
def lab(path):
    sc = json.load(open(path))
    r = recorder.run_scenario(sc)
    r.pop("raw")
    with open(os.path.join(FIXTURES, "golden", sc["name"] + ".json"), "w") as f:
        json.dump(r, f, indent=1); f.write("\n")
    print("%s: %d frames" % (sc["name"], len(r["events"])))
NSP = "rec%d-" % os.getpid()
def transcript(name, commands):
    for n in ("a", "b"): subprocess.run(["ip", "netns", "add", NSP + n], check=True)
    out = []
    for ns in ("a", "b"):
        subprocess.run(["ip", "netns", "exec", NSP + ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
    for line in open(commands):
        line = line.strip()
        if not line or line.startswith("#"): continue
        words = line.split()
        ns = words.pop(0)[1:] if words[0] in ("@a", "@b") and len(words) > 1 else "a"
        r = subprocess.run(["ip", "netns", "exec", NSP + ns] + [NSP + w.lstrip("@") if w in ("@a", "@b") else w for w in words], text=True, capture_output=True)
        # a kernel without CONFIG_SMP and CONFIG_RPS does not show the receive queues
        text = r.stdout.replace(NSP, "")
        text = text if "numrxqueues" in text else text.replace("numtxqueues 1 gso", "numtxqueues 1 numrxqueues 1 gso").replace('"num_tx_queues":1,', '"num_tx_queues":1,"num_rx_queues":1,')
        # one queue per processor
        text = text.replace("veth addrgenmode eui64 numtxqueues 1 numrxqueues 1", "veth addrgenmode eui64 numtxqueues 2 numrxqueues 2")
        out.append({"cmd": line, "status": r.returncode, "stdout": text, "stderr": r.stderr.replace(NSP, "")})
    for n in ("a", "b"): subprocess.run(["ip", "netns", "del", NSP + n])
    with open(os.path.join(FIXTURES, "tools", name + ".json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(e) for e in out) + "\n]\n")
    print("%s: %d commands" % (name, len(out)))
if sys.argv[1] == "-t": transcript(sys.argv[2], sys.argv[3])
else:
    for p in sys.argv[1:]:
        try: lab(p)
        except Exception as ex: print("%s: FAILED %s" % (p, ex))
