"""Records what the real ip6tables-legacy makes of rules, into test/unit/linux/iptables/fixtures/{rules6,errors6}.json.

Needed: root, ip, ip6tables-legacy, ipset. Rules of the IPv4 fixture that mean something in IPv6 are taken over with
other addresses; IPV6 and ERRORS below are the rest. The namespace rec-ip6 is made and deleted again.
"""
import json, os, re, subprocess
HERE = os.path.dirname(os.path.abspath(__file__))
FIX = os.path.join(HERE, '../../unit/linux/iptables/fixtures/')
NS = 'rec-ip6'
SETS = 'create ips hash:ip family inet6 counters\ncreate ipp hash:ip,port family inet6\ncreate nets hash:net family inet6\ncreate dyn hash:ip family inet6 timeout 60\n'
IPV6 = """
filter|-A FORWARD -s fd00:1::1 -d fd00:2::/64 -j ACCEPT
filter|-A FORWARD -d fd00:2::3/ffff:ffff:ffff:ffff:: ! -s fd00:9::/48 -j DROP
filter|-A FORWARD -s fd00::/ffff::ffff -j DROP
filter|-A FORWARD -s ::/0 -d ::/0
filter|-A FORWARD ! -s ::/0 -j DROP
filter|-A FORWARD -s any/0 -j DROP
filter|-A FORWARD -s 2001:DB8:0:0:1:0:0:1 -j ACCEPT
filter|-A FORWARD -s 2001:db8::1:2:3:4/77 -j ACCEPT
filter|-A FORWARD -s ::1.2.3.4 -j ACCEPT
filter|-A FORWARD -s ::2:3 -j ACCEPT
filter|-A FORWARD -s ::5 -d ::ffff:10.0.0.1 -j ACCEPT
filter|-A FORWARD -s 1:0:0:2:0:0:0:3 -d 1:0:2:3:4:5:6:7 -j ACCEPT
filter|-A FORWARD -s fd00::1,fd00::2 -d fd00::3,fd00::4 -j ACCEPT
filter|-A FORWARD -p ipv6-icmp -j ACCEPT
filter|-A FORWARD -p icmp -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type 128 -j ACCEPT
filter|-A FORWARD -p icmpv6 -m icmp6 --icmpv6-type echo-request -j ACCEPT
filter|-A FORWARD -p icmpv6 ! --icmpv6-type 1/4 -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type packet-too-big -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type destination-unreachable -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type no-route -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type communication-prohibited -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type beyond-scope -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type address-unreachable -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type port-unreachable -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type failed-policy -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type reject-route -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type time-exceeded -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type ttl-zero-during-reassembly -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type parameter-problem -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type bad-header -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type unknown-option -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type echo-reply -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type router-solicitation -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type router-advertisement -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type neighbour-solicitation -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type neighbor-advertisement -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type redirect -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type mld-listener-query -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type ttl-exceeded -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type pong -j ACCEPT
filter|-A FORWARD -p ipv6-icmp --icmpv6-type 200/7 -j ACCEPT
filter|-A FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 255 -j ACCEPT
filter|-A FORWARD -p ipv6-frag -j DROP
filter|-A FORWARD -p 43 -j DROP
filter|-A FORWARD -m conntrack --ctorigsrc fd00::4 ! --ctorigdst fd00::/8 --ctreplsrc fd01::1 --ctrepldst fd02::/64 -j ACCEPT
filter|-A FORWARD -m addrtype --dst-type LOCAL -j ACCEPT
filter|-A FORWARD -m addrtype ! --src-type UNICAST,LOCAL --dst-type UNREACHABLE -j ACCEPT
filter|-A FORWARD -m addrtype --dst-type ANYCAST,MULTICAST -j ACCEPT
filter|-A FORWARD -m recent --name KUBE-SEP-X --rcheck --seconds 10800 --reap -j ACCEPT
filter|-A FORWARD -m recent ! --rcheck --name foo --mask ffff:ffff:ffff:ffff:: -j DROP
filter|-A FORWARD -m iprange --src-range fd00::1-fd00::9 -j ACCEPT
filter|-A FORWARD -m iprange ! --src-range fd00::1-fd00::9 ! --dst-range fd01::1-fd02::2 -j ACCEPT
filter|-A FORWARD -m iprange --dst-range fd01::1 -j ACCEPT
filter|-A FORWARD -m hl --hl-eq 64 -j ACCEPT
filter|-A FORWARD -m hl ! --hl-eq 64 -j ACCEPT
filter|-A FORWARD -m hl --hl-lt 5 -j ACCEPT
filter|-A FORWARD -m hl --hl-gt 5 -j ACCEPT
filter|-A FORWARD -m eui64 -j ACCEPT
filter|-A FORWARD -m ipv6header --header hop,dst -j ACCEPT
filter|-A FORWARD -m ipv6header --header frag --soft -j ACCEPT
filter|-A FORWARD -m ipv6header ! --header route,auth,esp,none,prot -j ACCEPT
filter|-A FORWARD -m ipv6header --header hop-by-hop,ipv6-route -j ACCEPT
filter|-A FORWARD -m frag --fragid 5 -j ACCEPT
filter|-A FORWARD -m frag --fragid 5:9 --fragfirst -j ACCEPT
filter|-A FORWARD -m frag ! --fragid 5 --fragmore -j ACCEPT
filter|-A FORWARD -m frag --fraglast --fragres -j ACCEPT
filter|-A FORWARD -m frag --fraglen 8 -j ACCEPT
filter|-A FORWARD -m hbh --hbh-len 8 -j ACCEPT
filter|-A FORWARD -m hbh ! --hbh-len 16 --hbh-opts 5:2,1 -j ACCEPT
filter|-A FORWARD -m dst --dst-len 8 -j ACCEPT
filter|-A FORWARD -m dst --dst-opts 4:1,201 -j ACCEPT
filter|-A FORWARD -m rt --rt-type 0 -j ACCEPT
filter|-A FORWARD -m rt --rt-type 4 --rt-segsleft 1:3 -j ACCEPT
filter|-A FORWARD -m rt ! --rt-type 0 ! --rt-segsleft 0 --rt-len 24 -j ACCEPT
filter|-A FORWARD -p ah -m ah --ahspi 500 -j ACCEPT
filter|-A FORWARD -m ah --ahspi 1:2 --ahres -j ACCEPT
filter|-A FORWARD -p mh -m mh --mh-type 1 -j ACCEPT
filter|-A FORWARD -j REJECT
filter|-A FORWARD -j REJECT --reject-with icmp6-no-route
filter|-A FORWARD -j REJECT --reject-with no-route
filter|-A FORWARD -j REJECT --reject-with icmp6-adm-prohibited
filter|-A FORWARD -j REJECT --reject-with adm-prohibited
filter|-A FORWARD -j REJECT --reject-with icmp6-addr-unreachable
filter|-A FORWARD -j REJECT --reject-with addr-unreach
filter|-A FORWARD -j REJECT --reject-with icmp6-port-unreachable
filter|-A FORWARD -j REJECT --reject-with port-unreach
filter|-A FORWARD -j REJECT --reject-with icmp6-policy-fail
filter|-A FORWARD -j REJECT --reject-with icmp6-reject-route
filter|-A FORWARD -p tcp -j REJECT --reject-with tcp-reset
filter|-A OUTPUT -d fd00::5/128 -p tcp -m comment --comment "ns/svc has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp6-port-unreachable
filter|-A FORWARD -m hashlimit --hashlimit-upto 10/sec --hashlimit-mode srcip --hashlimit-srcmask 64 --hashlimit-name h1 -j ACCEPT
filter|-A FORWARD -m hashlimit --hashlimit-above 5/min --hashlimit-mode srcip,dstport,dstip,srcport --hashlimit-name h2 --hashlimit-dstmask 128 -j ACCEPT
filter|-A FORWARD -4 -j ACCEPT
filter|-A FORWARD -6 -j ACCEPT
nat|-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination [fd00::1]:8080
nat|-A PREROUTING -j DNAT --to-destination fd00::1
nat|-A PREROUTING -j DNAT --to-destination [fd00::1]
nat|-A PREROUTING -j DNAT --to-destination fd00::1-fd00::5
nat|-A PREROUTING -p udp -j DNAT --to-destination [fd00::1-fd00::5]:1000-2000 --random --persistent
nat|-A PREROUTING -p tcp -j DNAT --to-destination :99
nat|-A PREROUTING -p tcp --dport 5000:5010 -j DNAT --to-destination [fd00::1]:6000-6010/5000
nat|-A POSTROUTING -j SNAT --to-source fd00::4
nat|-A POSTROUTING -p tcp -j SNAT --to-source [fd00::4-fd00::5]:1-100 --random-fully --persistent --random
nat|-A PREROUTING -d fd00:1::/64 -j NETMAP --to fd00:2::/64
nat|-A POSTROUTING -j NETMAP --to fd00::1
nat|-A PREROUTING -p icmpv6 -j DNAT --to-destination fd00::1
mangle|-A FORWARD -j HL --hl-set 64
mangle|-A FORWARD -j HL --hl-inc 1
mangle|-A FORWARD -j HL --hl-dec 2
mangle|-A PREROUTING -p tcp -j TPROXY --on-port 15001 --on-ip ::1 --tproxy-mark 0x1/0x1
mangle|-A PREROUTING -p tcp -j TPROXY --on-port 15001
""".strip().split('\n')
BODIES = """
filter|-A FORWARD -s 10.0.0.1 -j DROP
filter|-A FORWARD -s fd00::g -j DROP
filter|-A FORWARD -s fd00::1/129 -j DROP
filter|-A FORWARD -s fd00::1/x -j DROP
filter|-A FORWARD ! -s fd00::1,fd00::2 -j DROP
filter|-A FORWARD -f -j DROP
filter|-A FORWARD ! -f -j DROP
filter|-A FORWARD -m icmp6 --icmpv6-type 1 -j DROP
filter|-A FORWARD -p tcp -m icmp6 --icmpv6-type 1 -j DROP
filter|-A FORWARD -p icmpv6 -m icmp6 -j DROP
filter|-A FORWARD -p icmpv6 --icmpv6-type foo -j DROP
filter|-A FORWARD -p icmpv6 --icmpv6-type 300 -j DROP
filter|-A FORWARD -p icmpv6 --icmpv6-type 1/300 -j DROP
filter|-A FORWARD -p icmpv6 --icmpv6-type neigh -j DROP
filter|-A FORWARD -p icmpv6 --icmpv6-type r -j DROP
filter|-A FORWARD -p icmp --icmp-type 8 -j DROP
filter|-A FORWARD -m icmp --icmp-type 8 -j DROP
filter|-A FORWARD -m ttl --ttl-eq 3 -j DROP
filter|-A FORWARD -j TTL --ttl-set 3
filter|-A FORWARD -j REJECT --reject-with icmp-port-unreachable
filter|-A FORWARD -j REJECT --reject-with foo
filter|-A FORWARD -j REJECT --reject-with tcp-reset
filter|-A FORWARD -p udp -j REJECT --reject-with tcp-reset
filter|-A FORWARD -m hl -j DROP
filter|-A FORWARD -m hl --hl-eq 256 -j DROP
filter|-A FORWARD -m addrtype --dst-type BROADCAST -j DROP
filter|-A FORWARD -m addrtype --dst-type BLACKHOLE -j DROP
filter|-A FORWARD -m addrtype --dst-type PROHIBIT -j DROP
filter|-A FORWARD -m addrtype --dst-type FOO -j DROP
filter|-A FORWARD -m recent --rcheck --mask 255.0.0.0 -j DROP
filter|-A FORWARD -m iprange --src-range 10.0.0.1-10.0.0.2 -j DROP
filter|-A FORWARD -m iprange --src-range fd00::1-x -j DROP
filter|-A FORWARD -m iprange -j DROP
filter|-A FORWARD -m conntrack --ctorigsrc 10.0.0.1 -j DROP
filter|-A FORWARD -m eui64 -j DROP
filter|-A OUTPUT -m eui64 -j DROP
filter|-A FORWARD -m ipv6header -j DROP
filter|-A FORWARD -m ipv6header --header foo -j DROP
filter|-A FORWARD -m ipv6header --header frag --header hop -j DROP
filter|-A FORWARD -m frag -j DROP
filter|-A FORWARD -m frag --fragid x -j DROP
filter|-A FORWARD -m frag --fraglen 7 -j DROP
filter|-A FORWARD -m hbh --hbh-len x -j DROP
filter|-A FORWARD -m hbh --hbh-opts 300 -j DROP
filter|-A FORWARD -m rt --rt-type x -j DROP
filter|-A FORWARD -m rt --rt-type 300 -j DROP
filter|-A FORWARD -m rt --rt-0-res -j DROP
filter|-A FORWARD -m hashlimit --hashlimit-upto 10/sec --hashlimit-srcmask 129 --hashlimit-name h1 -j ACCEPT
filter|-A FORWARD -p icmpv6 -m multiport --dports 1 -j DROP
filter|-A FORWARD -m set --match-set nope src -j DROP
filter|-A FORWARD -j FOO
filter|-A FORWARD -j DNAT --to-destination fd00::1
filter|-A INPUT -o eth0 -j DROP
filter|-A FORWARD -m rpfilter -j DROP
filter|-A NOPE -j DROP
nat|-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1:80
nat|-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1:80
nat|-A PREROUTING -p tcp -j DNAT --to-destination fd00::1:x80
nat|-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1]:0-70000
nat|-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1]:90-80
nat|-A PREROUTING -j DNAT --to-destination [fd00::1]:80
nat|-A PREROUTING -p tcp -j DNAT --to-destination fd00::5-10.0.0.1
nat|-A PREROUTING -j DNAT
nat|-A POSTROUTING -j SNAT
nat|-A PREROUTING -j SNAT --to-source fd00::1
nat|-A POSTROUTING -j NETMAP --to fd00::1/129
nat|-A POSTROUTING -j NETMAP
nat|-A PREROUTING -j MASQUERADE
nat|-A POSTROUTING -j MASQUERADE --to-ports 5
nat|-A OUTPUT -j REDIRECT --to-ports 5
nat|-A PREROUTING -j REJECT
mangle|-A FORWARD -j HL
mangle|-A FORWARD -j HL --hl-set 300
mangle|-A FORWARD -j HL --hl-dec 0
mangle|-A PREROUTING -j TPROXY --on-port 5
mangle|-A PREROUTING -p tcp -j TPROXY --on-ip ::1
mangle|-A FORWARD -p tcp -j TCPMSS --clamp-mss-to-pmtu
raw|-A PREROUTING -j REJECT
filter|-A FORWARD -j HL --hl-set 3
""".strip().split('\n')
def sh(args, inp=None):
    r = subprocess.run(['ip', 'netns', 'exec', NS] + args, input=inp, capture_output=True, text=True)
    return r.returncode, r.stdout, r.stderr
def reset():
    for t in ('filter', 'nat', 'mangle', 'raw'):
        sh(['ip6tables-legacy', '-t', t, '-F']); sh(['ip6tables-legacy', '-t', t, '-X'])
SKIP = re.compile(r'\d+\.\d+\.\d+|icmp|-f |ttl|TTL|-s 10/8|-s1|0/0|bpf|host-unreach|REJECT|TPROXY|--mask|--limit-iface|BROADCAST|hashlimit')
def main():
    subprocess.run(['ip', 'netns', 'del', NS], capture_output=True)
    subprocess.run(['ip', 'netns', 'add', NS], check=True)
    try:
        sh(['ipset', 'restore'], SETS)
        v4 = json.load(open(FIX + 'rules.json'))
        todo = [(c['table'], c['rule']) for c in v4 if not SKIP.search(c['rule'])]
        todo += [tuple(l.split('|', 1)) for l in IPV6]
        rules = []
        for table, rule in todo:
            reset()
            before = '-A FORWARD -j ACCEPT\n' if rule.startswith('-I') else ''
            rc, _, err = sh(['ip6tables-legacy-restore'], '*%s\n:U1 - [0:0]\n%s%s\nCOMMIT\n' % (table, before, rule))
            if rc:
                print('refused:', table, rule, err.strip().split('\n')[0]); continue
            save = [l for l in sh(['ip6tables-legacy-save', '-t', table])[1].split('\n') if l.startswith('-A')]
            lst = [l for l in sh(['ip6tables-legacy', '-t', table, '-L', '-n', '-v', '--line-numbers'])[1].split('\n') if re.match(r'\d', l)]
            rules.append({'table': table, 'rule': rule, 'save': save, 'list': lst})
        json.dump(rules, open(FIX + 'rules6.json', 'w'), indent=1)
        errors = []
        for b in BODIES:
            reset()
            table, rule = b.split('|', 1)
            text = '*%s\n%s\nCOMMIT\n' % (table, rule)
            rc, _, err = sh(['ip6tables-legacy-restore'], text)
            errors.append({'text': text, 'status': rc, 'stderr': err})
            print(rc, b, '->', err.strip().split('\n')[0])
        json.dump(errors, open(FIX + 'errors6.json', 'w'), indent=1)
        print(len(rules), 'rules', len(errors), 'errors')
    finally:
        subprocess.run(['ip', 'netns', 'del', NS])
main()
