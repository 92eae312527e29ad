"""Records the TCP tracking cases on the running kernel: writes tcp.json here, which pack.py makes the fixture of."""
from rec import *
clean(); setup(); rules(MANGLE)
A=Host("h1","r1"); B=Host("h2","r2")
WS=[2,4,5,180,4,2,1,3,3,7]  # mss, sackok, nop, ws7
while len(WS)%4: WS.append(1)
def O(f,seq=0,ack=0,**k): return dict(dir=0,flags=f,seq=seq,ack=ack,**k)
def R(f,seq=0,ack=0,**k): return dict(dir=1,flags=f,seq=seq,ack=ack,**k)
HS=[O("S",1000),R("SA",9000,1001),O("A",1001,9001)]
HSW=[O("S",1000,options=WS),R("SA",9000,1001,options=WS),O("A",1001,9001,win=500)]
C=[]
def case(name,steps): C.append(dict(name=name,steps=steps))
case("handshake, data, close",HS+[O("PA",1001,9001,len=10),R("A",9001,1011),R("PA",9001,1011,len=20),O("A",1011,9021),O("FA",1011,9021),R("FA",9021,1012),O("A",1012,9022)])
case("close by server first",HS+[R("FA",9001,1001),O("A",1001,9002),O("FA",1001,9002),R("A",9002,1002)])
case("simultaneous open",[O("S",1000),R("S",9000),O("SA",1000,9001),R("SA",9000,1001),O("A",1001,9001),R("A",9001,1001)])
case("SYN retransmitted",[O("S",1000),O("S",1000),O("S",1000),R("SA",9000,1001)])
case("refused",[O("S",1000),R("RA",0,1001)])
case("refused, wrong ack",[O("S",1000),R("RA",0,1999)])
case("mid-stream pickup both ways",[O("A",5000,7000),R("A",7000,5000),O("PA",5000,7000,len=5),R("A",7000,5005)])
case("mid-stream pickup data",[O("PA",5000,7000,len=100),R("A",7000,5100)])
case("SYN/ACK first",[R("SA",1,1)])
case("FIN first",[O("FA",1,1)])
case("RST in window exact",HS+[R("R",9001,0)])
case("RST+ACK in window exact",HS+[R("RA",9001,1001)])
case("RST ahead of sequence",HS+[R("R",9500,0),O("A",1001,9001)])
case("RST below maxack",HS+[O("PA",1001,9001,len=10),R("PA",9001,1011,len=20),O("A",1011,9021),R("R",9001,0)])
case("RST behind data train",HS+[R("PA",9001,1001,len=19),R("R",9020,0)])
case("RST far out of window",HS+[R("R",900001,0)])
case("ACK of unseen data",HS+[O("A",1001,99001)])
case("SEQ over window",HS+[O("PA",1001+70000,9001,len=10)])
case("SEQ just over window",HS+[O("PA",1001+64240,9001,len=10),O("PA",1001+64241,9001,len=10)])
case("more bytes than the window",HS+[O("PA",1001,9001,len=1400),R("A",9001,2401,win=1000),O("PA",2401,9001,len=900),O("PA",3301,9001,len=900),O("PA",3402,9001,len=900),R("A",9001,4201,win=1000)])
case("old data retransmitted",HS+[O("PA",1001,9001,len=1000),R("A",9001,2001),O("PA",2001,9001,len=1000),R("A",9001,3001),O("PA",1001,9001,len=10)])
case("data far below",HS+[O("PA",1001-80000,9001,len=10)])
case("ack far below",HS+[O("PA",1001,9001,len=10),O("A",1011,9001-80000)])
case("window scaling",HSW+[O("PA",1001,9001,win=500,len=1000),R("A",9001,2001,win=10),O("PA",2001,9001,win=500,len=1200),O("PA",3201,9001,win=500,len=1200),R("A",9001,4401,win=500)])
case("SACK",HSW+[O("PA",1001,9001,len=100,win=500),O("PA",1201,9001,len=100,win=500),R("A",9001,1101,win=500,options=[1,1,5,10]+list(struct.pack("!II",1201,1301))),O("PA",1101,9001,len=100,win=500),R("A",9001,1301,win=500)])
case("reopened after TIME_WAIT",HS+[O("FA",1001,9001),R("FA",9001,1002),O("A",1002,9002),O("S",50000),R("SA",60000,50001),O("A",50001,60001)])
case("reopened after RST",HS+[R("RA",9001,1001),O("S",50000),R("SA",60000,50001)])
case("reopened by the server after TIME_WAIT",HS+[O("FA",1001,9001),R("FA",9001,1002),O("A",1002,9002),R("S",60000),O("SA",50000,60001),R("A",60001,50001)])
case("SYN in ESTABLISHED, answered by SYN/ACK",HS+[O("S",50000),R("SA",60000,50001),O("A",50001,60001)])
case("SYN in ESTABLISHED, challenge ACK",HS+[O("S",50000),R("A",9001,1001),O("R",9001-8000,0)])
case("SYN in ESTABLISHED, answered by RST",HS+[O("S",50000),R("RA",0,50001)])
case("challenge ACK to SYN in SYN_SENT",[O("S",1000),R("A",9000,777),O("R",777,0),O("S",1000)])
case("half-open, RST answers ACK",[O("S",1000),R("A",9000,777),O("R",777,0)])
case("SYN in LAST_ACK then ACK",HS+[O("FA",1001,9001),R("FA",9001,1002),O("S",70000),R("A",9002,1002),O("A",1002,9002)])
case("SYN/ACK by client",HS+[O("SA",1001,9001)])
case("server SYN in ESTABLISHED",HS+[R("S",9001)])
case("null and xmas",HS+[O("",1001,9001),O("FPU",1001,9001),O("FS",1001)])
case("SYN with URG",[O("SU",1000),R("SA",9000,1001)])
case("zero window",HS+[R("A",9001,1001,win=0),O("A",1001,9001,win=0)])
case("retransmitted ACKs shorten the timeout",HS+[O("PA",1001,9001,len=10),R("A",9001,1011),R("A",9001,1011),R("A",9001,1011),R("A",9001,1011),R("A",9001,1011),O("A",1011,9001)])
case("unacknowledged data",HS+[O("PA",1001,9001,len=10),O("PA",1011,9001,len=10),R("A",9001,1021)])
case("FIN with data, half close",HS+[O("FPA",1001,9001,len=10),R("A",9001,1012),R("PA",9001,1012,len=100),O("A",1012,9101),R("FA",9101,1012),O("A",1012,9102)])
case("keepalive",HS+[O("PA",1001,9001,len=10),R("A",9001,1011),O("A",1010,9001),R("A",9001,1011)])
case("FIN out of window both ways",HS+[O("PA",1001,9001,len=10),R("A",9001,1011),O("FA",900000,9001),R("FA",9900000,1011)])
case("SYN_RECV SYN/ACK again",[O("S",1000),R("SA",9000,1001),R("SA",9000,1001),O("A",1001,9001)])
case("SYN/ACK wrong ack",[O("S",1000),R("SA",9000,5555)])
case("data in SYN_SENT",[O("S",1000),O("PA",1001,0,len=5)])
case("sequence wraps",[O("S",0xfffffff0),R("SA",0xffffff00,0xfffffff1),O("A",0xfffffff1,0xffffff01),O("PA",0xfffffff1,0xffffff01,len=100),R("A",0xffffff01,0x55),R("PA",0xffffff01,0x55,len=1000),O("A",0x55,0x2e9)])
rnd=random.Random(5)
FL=["S","SA","A","PA","FA","R","RA","A","PA"]
for n in range(150):
    steps=[]; nxt=[1000,9000]; st=rnd.random()
    if st<0.5: steps=[dict(x) for x in (HS if rnd.random()<.6 else HSW)]; nxt=[1001,9001]
    elif st<0.8: steps=[dict(x) for x in HS[:rnd.randint(1,2)]]; nxt=[1001,9001 if len(steps)==2 else 9000]
    for i in range(rnd.randint(3,8)):
        d=rnd.randint(0,1); f=rnd.choice(FL); ln=rnd.choice([0,0,10,500,1400]) if f in("PA","FA") else 0
        seq=nxt[d]+rnd.choice([0]*8+[-1,1,500,-500,64240,70000,-70000]); ack=nxt[1-d]+rnd.choice([0]*8+[1,-1,-300,300,70000]) if "A" in f else 0
        if "R" in f and rnd.random()<.2: seq=0
        steps.append(dict(dir=d,flags=f,seq=seq&0xffffffff,ack=ack&0xffffffff,win=rnd.choice([64240,64240,1000,0,500]),len=ln,**({"options":WS} if "S" in f and rnd.random()<.3 else {})))
        if seq==nxt[d] and rnd.random()<.9: nxt[d]+=ln+(1 if "F" in f or "S" in f else 0)
    case("random %d"%n,steps)
out=[]
for i,c in enumerate(C):
    sh(f"ip netns exec {P}r conntrack -F 2>/dev/null")
    sp=20000+i
    for s in c["steps"]:
        A.drain(); B.drain()
        if s["dir"]==0: A.send(tcp("10.1.0.2",sp,"10.2.0.2",80,s)); g=B.recv()
        else: B.send(tcp("10.2.0.2",80,"10.1.0.2",sp,s)); g=A.recv()
        s["state"]=ST.get(g[1],hex(g[1])) if g else "DROPPED"
        l=listing()
        s["line"]=l[0].replace("sport=%d"%sp,"sport=SP").replace("dport=%d"%sp,"dport=SP") if l else ""
        if len(l)>1: print("many",c["name"],l)
    out.append(c)
json.dump(dict(kernel=os.uname().release,cases=out),open("tcp.json","w"),indent=0)
clean()
print(len(out),sum(len(c["steps"]) for c in out))
