"""Records the NAT cases on the running kernel into test/unit/linux/nat/fixtures/nat-linux-6.18.json (or argv[1])."""
from rec import *
target=sys.argv[1] if len(sys.argv)>1 else os.path.join(os.path.dirname(os.path.abspath(__file__)),'../../unit/linux/nat/fixtures/nat-linux-6.18.json')
clean(); setup()
sh(f"ip -n {P}r route add 10.96.0.0/16 via 10.2.0.2 dev r2")
A=Host("h1","r1"); B=Host("h2","r2")
def udp(src,sp,dst,dp,pl=b"hello",nock=False,bad=False):
    h=struct.pack("!HHHH",sp,dp,8+len(pl),0)+pl
    c=csum(socket.inet_aton(src)+socket.inet_aton(dst)+struct.pack("!BBH",0,17,len(h))+h) or 0xffff
    if nock: c=0
    if bad: c^=0x1111
    return ip(src,dst,17,h[:6]+struct.pack("!H",c)+h[8:])
def icmp(src,dst,ty,idn,pl=b"ab",code=0,rest=None,bad=False):
    h=struct.pack("!BBHHH",ty,code,0,idn,1)+pl
    c=csum(h)^(0x101 if bad else 0)
    return ip(src,dst,1,h[:2]+struct.pack("!H",c)+h[4:])
def err(src,dst,ty,code,inner,q=28,info=0,bad=False):
    h=struct.pack("!BBHI",ty,code,0,info)+inner[:q]
    c=csum(h)^(0x101 if bad else 0)
    return ip(src,dst,1,h[:2]+struct.pack("!H",c)+h[4:])
def T(src,sp,dst,dp,fl,**k): return tcp(src,sp,dst,dp,dict(flags=fl,**k))
def ttl1(p): # as a router sees it after one hop
    b=bytearray(p); b[8]-=1; b[10:12]=b"\0\0"; b[10:12]=struct.pack("!H",csum(bytes(b[:20]))); return bytes(b)
C=[]
def case(name,dnat,snat,steps,sleep=None): C.append((name,dnat,snat,steps))
a="10.1.0.2"; b="10.2.0.2"; V="10.96.0.1"
case("no NAT rule: null binding",None,None,[(0,udp(a,1000,b,53)),(1,udp(b,53,a,1000)),(0,icmp(a,b,8,7)),(1,icmp(b,a,0,7)),(0,ip(a,b,47,bytes(8))),(1,ip(b,a,47,bytes(8))),(0,ip(a,b,4,ip(a,b,17,bytes(8))))])
case("SNAT to one address",None,"--to-source 10.2.0.1",[(0,udp(a,1000,b,53)),(1,udp(b,53,"10.2.0.1",1000)),(0,icmp(a,b,8,7)),(1,icmp(b,"10.2.0.1",0,7)),(0,T(a,5,b,80,"S",seq=1)),(1,T(b,80,"10.2.0.1",5,"SA",seq=9,ack=2)),(0,udp(a,1001,b,53,nock=True)),(0,udp(a,1002,b,53,bad=True)),(0,ip(a,b,47,bytes(8))),(1,ip(b,"10.2.0.1",47,bytes(8)))])
pairs=[("10.1.0.%d"%x,"10.2.0.%d"%y) for x in (2,3,4,5) for y in (2,3,4,5)]
case("SNAT to a range of addresses",None,"--to-source 10.2.0.10-10.2.0.20",[(0,udp(s,1000+(s=="10.1.0.5"),d,53)) for s,d in pairs])
case("SNAT to a range, other source ports",None,"--to-source 10.2.0.10-10.2.0.20",[(0,udp(s,1000+i,d,53)) for i,(s,d) in enumerate(pairs)])
case("SNAT to a wide range --persistent",None,"--to-source 10.2.0.10-10.2.3.200 --persistent",[(0,udp(s,1000+i,d,53)) for i,(s,d) in enumerate(pairs)])
case("DNAT to a range of addresses","--to-destination 10.2.0.2-10.2.0.5",None,[(0,udp("10.1.0.%d"%x,1000+y,"10.96.0.%d"%y,53)) for x in (2,3,4,5) for y in range(1,6)])
case("DNAT to a range --persistent","--to-destination 10.2.0.2-10.2.0.5 --persistent",None,[(0,udp("10.1.0.%d"%x,1000+y,"10.96.0.%d"%y,53)) for x in (2,3,4,5) for y in range(1,6)])
case("DNAT to a port","--to-destination 10.2.0.2:8080",None,[(0,T(a,40,V,80,"S",seq=1)),(1,T(b,8080,a,40,"SA",seq=9,ack=2)),(0,T(a,40,V,80,"A",seq=2,ack=10)),(0,T(a,39,V,80,"S",seq=1))])
case("DNAT to a range of ports starts at its first","--to-destination 10.2.0.2:8080-8083",None,[(0,T(a,40,V,p,"S",seq=1)) for p in (80,81,8082,8083)])
case("DNAT with a base port","--to-destination 10.2.0.2:5000-5100/80",None,[(0,T(a,40,V,p,"S",seq=1)) for p in (80,81,180,181,79)])
case("SNAT to one port","","--to-source 10.2.0.1:6000",[(0,udp(a,1000,b,53)),(0,udp(a,1001,"10.2.0.3",53)),(1,udp(b,53,"10.2.0.1",6000))])
case("DNAT and SNAT with errors","--to-destination 10.2.0.2:5353","--to-source 10.2.0.1",
 [(0,udp(a,4000,V,53)),(1,err(b,"10.2.0.1",3,3,udp("10.2.0.1",4000,b,5353),33)),(1,err("10.2.0.77","10.2.0.1",11,0,ttl1(udp("10.2.0.1",4000,b,5353)))),
  (1,udp(b,5353,"10.2.0.1",4000)),(0,err(a,V,3,3,ttl1(udp(V,53,a,4000)))),(0,err("10.1.0.99",V,3,1,udp(V,53,a,4000),40)),
  (1,err(b,"10.2.0.9",3,3,udp("10.2.0.1",4000,b,5353),33)),(1,err(b,"10.2.0.1",3,3,udp("10.2.0.1",4001,b,5353),33)),(1,err(b,"10.2.0.1",3,3,udp("10.2.0.1",4000,b,5353),24)),
  (1,err(b,"10.2.0.1",3,3,udp("10.2.0.1",4000,b,5353),33,bad=True)),(1,err(b,"10.2.0.1",5,1,udp("10.2.0.1",4000,b,5353),33)),(1,err(b,"10.2.0.1",4,0,udp("10.2.0.1",4000,b,5353),33)),
  (1,err(b,"10.2.0.1",3,4,udp("10.2.0.1",4000,b,5353,nock=True),33,info=1300)),(1,err(b,"10.2.0.1",12,0,udp("10.2.0.1",4000,b,5353),28,info=0x04000000))])
case("TCP with errors","--to-destination 10.2.0.2:8080","--to-source 10.2.0.1",
 [(0,T(a,4000,V,80,"S",seq=1)),(1,err(b,"10.2.0.1",3,1,T("10.2.0.1",4000,b,8080,"S",seq=1))),(1,err(b,"10.2.0.1",3,1,T("10.2.0.1",4000,b,8080,"S",seq=1),40)),(1,err(b,"10.2.0.1",3,1,T("10.2.0.1",4000,b,8080,"S",seq=1,len=9),49))])
case("ping with errors",None,"--to-source 10.2.0.1",
 [(0,icmp(a,b,8,77)),(1,err(b,"10.2.0.1",3,1,icmp("10.2.0.1",b,8,77),30)),(1,err("10.2.0.66","10.2.0.1",11,0,icmp("10.2.0.1",b,8,77),28)),(1,icmp(b,"10.2.0.1",0,77)),(0,icmp(a,b,13,77)),(1,icmp(b,"10.2.0.1",14,77)),(1,icmp(b,"10.2.0.1",0,78)),(0,icmp(a,b,40,1)),(0,icmp(a,b,10,1)),(0,icmp(a,b,8,9,bad=True)),(1,err(b,"10.2.0.1",3,1,err("10.2.0.1",b,3,1,udp(b,1,"10.2.0.1",2)),60))])
out=[]
for name,dn,sn,steps in C:
    if " --" not in name: pass
    t="*nat\n-A POSTROUTING -s 1.2.3.4 -j MASQUERADE\n"
    if dn: t+="".join(f"-A PREROUTING -i r1 -p {p} -j DNAT {dn}\n" for p in ("udp","tcp"))
    if sn: t+="".join(f"-A POSTROUTING -o r2 -p {p} -j SNAT {sn}\n" for p in ("udp","tcp","icmp","47") if not(":" in sn and p in("icmp","47")))
    rules(t+"COMMIT\n")
    sh(f"ip netns exec {P}r conntrack -F 2>/dev/null")
    rec=[]
    for d,p in steps:
        A.drain(); B.drain()
        (A if d==0 else B).send(p); g=(B if d==0 else A).recv()
        rec.append([d,p.hex(),g.hex() if g else ""])
    st=sorted(re.sub(r"^(\w+ +\d+ )(\d+) ",lambda m:m[1]+str(int(m[2])+(int(m[2])%10==9))+" ",l) for l in listing())
    out.append(dict(name=name,dnat=dn or "",snat=sn or "",steps=rec,conntrack=st))

clean()
s='{"kernel":%s,"cases":[\n'%json.dumps(os.uname().release)+',\n'.join('{"name":%s,"dnat":%s,"snat":%s,"steps":[\n%s],\n"conntrack":[\n%s]}'%(json.dumps(c["name"]),json.dumps(c["dnat"]),json.dumps(c["snat"]),',\n'.join(json.dumps(x,separators=(',',':')) for x in c["steps"]),',\n'.join(json.dumps(x) for x in c["conntrack"])) for c in out)+'\n]}\n'
open(target,'w').write(s)
for c in out:
    print(c["name"])
    for l in c["conntrack"]: print("   ",l)
    print("   dropped:",[i for i,x in enumerate(c["steps"]) if not x[2]])
