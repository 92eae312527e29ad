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
