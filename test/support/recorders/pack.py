"""Packs tcp.json (of tcprec.py) into the fixture test/unit/linux/conntrack/fixtures/tcp-linux-6.18.json (or argv[1])."""
import json,os,re,sys
here=os.path.dirname(os.path.abspath(__file__))
target=sys.argv[1] if len(sys.argv)>1 else os.path.join(here,'../../unit/linux/conntrack/fixtures/tcp-linux-6.18.json')
d=json.load(open('tcp.json')); cases=[]
for c in d['cases']:
    st=[]
    for s in c['steps']:
        m=re.match(r'tcp\s+6 (\d+) (\w+) (.*)$',s['line'])
        st.append([s['dir'],s['flags'],s['seq'],s['ack'],s.get('win',64240),s.get('len',0),bytes(s.get('options',[])).hex(),s['state'], "" if not m else ' '.join([str(int(m[1])+(int(m[1])%10==9)),m[2]]+re.findall(r'\[\w+\]',m[3]))])
    cases.append(dict(name=c['name'],steps=st))
out='{"kernel":%s,"cases":[\n'%json.dumps(d['kernel'])+',\n'.join('{"name":%s,"steps":[\n%s]}'%(json.dumps(c['name']),',\n'.join(json.dumps(s,separators=(',',':')) for s in c['steps'])) for c in cases)+'\n]}\n'
open(target,'w').write(out); print(len(out))
