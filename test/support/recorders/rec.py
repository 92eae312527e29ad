"""Shared part of the recorders: two hosts and a router on the real kernel (root, iproute2, iptables, conntrack-tools).

The router marks what it forwards with the conntrack state (TOS), so that a recording shows how each packet was seen.
"""
import subprocess, os, socket, ctypes, struct, json, random, re, time, sys
libc=ctypes.CDLL("libc.so.6",use_errno=True)
P="rec-"
def sh(c,check=True,inp=None):
    r=subprocess.run(c,shell=True,text=True,capture_output=True,input=inp)
    if check and r.returncode: raise RuntimeError(c+r.stderr)
    return r.stdout
def inns(n,f):
    old=os.open("/proc/self/ns/net",os.O_RDONLY); fd=os.open("/run/netns/"+P+n,os.O_RDONLY)
    libc.setns(fd,0x40000000)
    try: return f()
    finally: libc.setns(old,0x40000000); os.close(fd); os.close(old)
M={"h1":"020000000101","r1":"020000000102","r2":"020000000202","h2":"020000000201"}
def mac(x): return ":".join(x[i:i+2] for i in range(0,12,2))
def setup():
    for n in ("h1","r","h2"): sh(f"ip netns add {P}{n}")
    sh(f"ip -n {P}h1 link add eth0 address {mac(M['h1'])} type veth peer name r1 address {mac(M['r1'])} netns {P}r")
    sh(f"ip -n {P}h2 link add eth0 address {mac(M['h2'])} type veth peer name r2 address {mac(M['r2'])} netns {P}r")
    for n,d,a in (("h1","eth0","10.1.0.2/24"),("h2","eth0","10.2.0.2/24"),("r","r1","10.1.0.1/24"),("r","r2","10.2.0.1/24")):
        sh(f"ip netns exec {P}{n} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0")
        sh(f"ip -n {P}{n} addr add {a} dev {d}; ip -n {P}{n} link set {d} up; ip -n {P}{n} link set lo up")
        sh(f"ip netns exec {P}{n} ethtool -K {d} tx off sg off tso off gso off gro off",check=False)
    sh(f"ip netns exec {P}r sysctl -qw net.ipv4.ip_forward=1")
    for ip in (2,3,4,5): sh(f"ip -n {P}r neigh replace 10.1.0.{ip} lladdr {mac(M['h1'])} dev r1; ip -n {P}r neigh replace 10.2.0.{ip} lladdr {mac(M['h2'])} dev r2")
    for h in("h1","h2"): sh(f"ip netns exec {P}{h} iptables -t raw -A PREROUTING -j DROP")
MANGLE="""*mangle
-A FORWARD -m conntrack --ctstate NEW -j TOS --set-tos 0x10/0xff
-A FORWARD -m conntrack --ctstate ESTABLISHED -j TOS --set-tos 0x20/0xff
-A FORWARD -m conntrack --ctstate RELATED -j TOS --set-tos 0x30/0xff
-A FORWARD -m conntrack --ctstate INVALID -j TOS --set-tos 0x40/0xff
COMMIT
"""
def rules(t): sh(f"ip netns exec {P}r iptables-restore",inp=t)
def clean():
    for n in ("h1","r","h2"): sh(f"ip netns del {P}{n}",check=False)
def csum(b):
    if len(b)&1: b+=b"\0"
    t=sum(struct.unpack("!%dH"%(len(b)//2),b))
    while t>>16: t=(t&0xffff)+(t>>16)
    return ~t&0xffff
def ip(src,dst,proto,pl,ttl=64):
    h=struct.pack("!BBHHHBBH4s4s",0x45,0,20+len(pl),0x1234,0x4000,ttl,proto,0,socket.inet_aton(src),socket.inet_aton(dst))
    return h[:10]+struct.pack("!H",csum(h))+h[12:]+pl
def tcp(src,sp,dst,dp,s):
    o=bytes(s.get("options",[])); fl=sum(1<<"FSRPAU".index(c) for c in s["flags"])
    h=struct.pack("!HHIIBBHHH",sp,dp,s.get("seq",0)&0xffffffff,s.get("ack",0)&0xffffffff,((20+len(o))//4)<<4,fl,s.get("win",64240),0,0)+o+b"\0"*s.get("len",0)
    ps=socket.inet_aton(src)+socket.inet_aton(dst)+struct.pack("!BBH",0,6,len(h))
    return ip(src,dst,6,h[:16]+struct.pack("!H",csum(ps+h))+h[18:])
class Host:
    def __init__(s,n,peer):
        def mk():
            k=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3)); k.bind(("eth0",0)); k.settimeout(0.08); return k
        s.k=inns(n,mk); s.n=n; s.hdr=bytes.fromhex(M[peer]+M[n]+"0800")
    def send(s,p): s.k.send(s.hdr+p)
    def drain(s):
        s.k.setblocking(False)
        try:
            while True: s.k.recv(65535)
        except BlockingIOError: pass
        s.k.settimeout(0.08)
    def recv(s):
        try:
            while True:
                b,a=s.k.recvfrom(65535)
                if a[2]==4: continue
                if b[12:14]!=b"\x08\0": continue
                return b[14:]
        except (socket.timeout,BlockingIOError): return None
ST={0x10:"NEW",0x20:"ESTABLISHED",0x30:"RELATED",0x40:"INVALID"}
def listing():
    return sorted(re.sub(r" use=\d+","",l.strip()) for l in sh(f"ip netns exec {P}r conntrack -L 2>/dev/null").splitlines())
