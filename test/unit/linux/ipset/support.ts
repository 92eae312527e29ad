/** Set texts that the unit tests and the kernel-backed tests share. */

/** Sets of every type that the recording kernel has, with their options. */
export const SET_TEXT = `create a hash:ip
add a 10.0.0.1
add a 10.0.0.9
add a 10.0.0.2-10.0.0.4
add a 10.0.1.0/30
create b hash:net counters comment
add b 10.0.0.0/8 comment "big net"
add b 10.1.0.0/16 nomatch
add b 0.0.0.0/1
add b 192.168.0.5-192.168.0.9
create c hash:ip,port timeout 60
add c 10.0.0.1,tcp:80
add c 10.0.0.1,udp:53-55 timeout 0
add c 10.0.0.1,icmp:8/0
add c 10.0.0.1,icmp:port-unreachable
add c 10.0.0.1,icmp:200/3
add c 10.0.0.1,sctp:1
add c 10.0.0.1,4:0
create d hash:ip,port,ip maxelem 1000
add d 10.0.0.1,tcp:80,1.2.3.4
create e hash:ip,port,net
add e 10.0.0.1,tcp:80,1.2.0.0/16
add e 10.0.0.1,tcp:80,1.2.3.4
create f hash:net,port
add f 10.0.0.0/24,udp:1
add f 10.0.0.128/25,udp:1 nomatch
create h hash:net,iface
add h 10.0.0.0/24,eth0
add h 10.0.0.0/24,physdev:eth1
add h 0.0.0.0/0,eth2
create k bitmap:ip range 10.0.0.0/24
add k 10.0.0.5
add k 10.0.0.3
create k2 bitmap:ip range 10.0.0.0-10.0.0.100 netmask 30
add k2 10.0.0.5
create l bitmap:port range 0-65535
add l 7000-7002
add l 53
create n hash:net hashsize 100 maxelem 10 family inet
create o hash:ip netmask 24
add o 10.2.3.4
create q hash:ip comment timeout 0
add q 1.1.1.1 timeout 30 comment "x y"
add q 1.1.1.2
create u hash:ip counters skbinfo
add u 9.9.9.9 packets 5 bytes 60
create v hash:ip bucketsize 8
create m list:set
add m a
add m b
add m c before b
create r list:set size 4 timeout 10
`

/** Commands and queries after it. */
export const SET_COMMANDS: readonly string[] = [
  'test a 10.0.0.1',
  'test a 10.0.0.77',
  'test b 10.1.2.3',
  'test b 10.2.0.1',
  'test b 10.0.0.0/8',
  'test b 10.0.0.0/9',
  'test nope 1.1.1.1',
  'add a 10.0.0.1',
  'del a 10.0.0.200',
  'del a 10.0.0.200 -exist',
  'create a hash:ip',
  'create a hash:ip -exist',
  'create zz hash:foo',
  'destroy a',
  'destroy nope',
  'add a 10.0.0.1 -exist',
  'add a foo',
  'list -n',
  'rename a a2',
  'swap a nope',
  'swap a o',
  'swap a l',
  'test a 10.2.3.0',
  'test a 10.2.3.9',
  'test c 10.0.0.1,icmp:8/0',
  'test h 10.0.0.0/24,eth0',
  'test h 10.0.0.5,eth0',
  'test l 53',
  'test l udp:53',
  'test k2 10.0.0.6',
  'test c 10.0.0.1,tcp:80',
  'test c 10.0.0.1,tcp:81',
  'test c 10.0.0.1,80',
  'add n 10.0.0.0/33',
  'list nope',
  'add k 11.0.0.1',
  'add a',
  'create y hash:ip maxelem 2',
  'add y 1.1.1.1',
  'add y 1.1.1.2',
  'add y 1.1.1.3',
  'test k 10.0.0.5',
  'del m nope',
  'add m nope',
  'test m a',
  'test m o',
  'add b 0.0.0.0/0',
  'del m b',
  'add m b after a',
  'rename y y2',
  'test f 10.0.0.1,udp:1',
  'test f 10.0.0.129,udp:1',
  'test e 10.0.0.1,tcp:80,1.2.9.9',
  'test d 10.0.0.1,tcp:80,1.2.3.4',
  'flush e',
  'destroy e',
  'list -n',
  'foo',
  'add u 8.8.8.8 timeout 5',
  'add a 1.1.1.1 comment x',
]

/** Sets of family inet6, of the types that usual kernels have. */
export const SET_TEXT6 = `create a hash:ip family inet6
create an hash:ip family inet6 netmask 64
create n hash:net family inet6 timeout 300 counters comment
create ap hash:ip,port family inet6
create np hash:net,port family inet6
create apn hash:ip,port,net family inet6
create api hash:ip,port,ip family inet6
create ni hash:net,iface family inet6
create l list:set
add a fd00::1
add a ::1.2.3.4
add a 2001:DB8::0:5
add an fd00:1:2:3:4:5:6:7
add n fd00:1::/64 comment "x y"
add n fd00:2::5 timeout 20 packets 3 bytes 9
add n fd00:3::7/48 nomatch
add n ::/1
add ap fd00::1,80
add ap fd00::1,udp:53
add ap fd00::1,tcp:81-83
add ap fd00::1,icmpv6:echo-request
add ap fd00::1,ipv6-icmp:1/4
add ap fd00::1,icmpv6:135/0
add ap fd00::1,icmpv6:200/3
add ap fd00::1,4:0
add np fd00::/64,sctp:5
add apn fd00::1,tcp:80,fd01::/48
add api fd00::1,tcp:80,fd01::2
add ni fd00::/64,eth0
add ni fd00:1::/64,physdev:eth1
add l n
`

/** Commands on SET_TEXT6, good and bad. */
export const SET_COMMANDS6: readonly string[] = [
  'add a fd00::1-fd00::5',
  'add a fd00::/64',
  'add a fd00::9/128',
  'add a 10.0.0.1',
  'add a x',
  'add n fd00::/0',
  'add n fd00::/129',
  'add n fd00::-fd00::ff',
  'add ap fd00::1,icmp:8/0',
  'add ap fd00::1,icmpv6:neigbour-advertisement',
  'add ap fd00::1,icmpv6:foo',
  'add ap [fd00::1],tcp:80',
  'create b list:set family inet6',
  'create b hash:ip family foo',
  'create v hash:ip family ipv6',
  'test a fd00::1',
  'test a fd00::2',
  'test n fd00:1::77',
  'test n fd00:3::7',
  'test n 10.0.0.1',
  'test np fd00::5,sctp:5',
  'test apn fd00::1,tcp:80,fd01::9',
  'del a fd00::7',
  'add a fd00::1',
  'add ap fd00::/64,tcp:80',
  'create c hash:ip family inet',
  'add c fd00::1',
  'swap a c',
  'swap a v',
  'create c2 hash:ip,port',
  'add c2 10.0.0.1,icmpv6:1/4',
  'create a hash:ip',
  'create -exist a hash:ip family inet6',
  'flush n',
  'destroy np',
]
