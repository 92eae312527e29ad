#!/bin/bash
# Records test/fixtures/apps/transcript.txt: curl, nc and wget against servers that answer, refuse, reset, hang.
#   sudo test/support/recorders/apps.sh > test/fixtures/apps/transcript.txt
D=$(mktemp -d)
echo '# curl 7.88.1, OpenBSD nc 1.219 and wget 1.21.3 on the real kernel: recorders/apps.sh. "! " is standard error, "\r" a carriage return.'
cat > $D/web.py <<'PY'
import socket,threading,ssl
R=b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
def ok(c):
    d=c.recv(65536)
    c.sendall(R%(b"200 OK",4,b"web\n")); c.close()
def notfound(c):
    c.recv(65536); c.sendall(R%(b"404 Not Found",5,b"none\n")); c.close()
def redirect(c):
    c.recv(65536); c.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://10.77.0.2:8080/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); c.close()
def empty(c):
    c.recv(65536); c.close()
def reset(c):
    c.recv(65536); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"); c.close()
def garbage(c):
    c.recv(65536); c.sendall(b"hello there\n"); c.close()
def hang(c):
    c.recv(65536); import time; time.sleep(30)
def serve(p,f):
    s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR,1); s.bind(('10.77.0.2',p)); s.listen()
    while True:
        c,_=s.accept(); threading.Thread(target=f,args=(c,),daemon=True).start()
for p,f in ((8080,ok),(8081,notfound),(8082,redirect),(8083,empty),(8084,reset),(8085,garbage),(8086,hang)):
    threading.Thread(target=serve,args=(p,f),daemon=True).start()
u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.bind(('10.77.0.2',5353))
while True:
    d,a=u.recvfrom(999); u.sendto(b"got "+d,a)
PY
ip netns add pw-rec-a; ip netns add pw-rec-b; ip link add v0 netns pw-rec-a type veth peer name v1 netns pw-rec-b
for n in a b; do ip -n pw-rec-$n link set lo up; done
ip -n pw-rec-a addr add 10.77.0.1/24 dev v0; ip -n pw-rec-b addr add 10.77.0.2/24 dev v1; ip -n pw-rec-a link set v0 up; ip -n pw-rec-b link set v1 up
ip netns exec pw-rec-b iptables -A INPUT -p tcp --dport 8090 -j DROP
ip netns exec pw-rec-b python3 $D/web.py & P=$!
sleep 1.5
cat > $D/hosts <<'E2'
127.0.0.1 localhost
10.77.0.2 web web.shop
E2
r() { l='$'; for a in "$@"; do case "$a" in *[!A-Za-z0-9_./:?=\&@,-]*) l="$l '$a'";; *) l="$l $a";; esac; done; printf '%s\n' "$l"; ip netns exec pw-rec-a unshare -m bash -c "mount --bind $D/hosts /etc/hosts;"' "$@"' x "$@" > $D/o 2> $D/e </dev/null; rc=$?; sed 's/\r$/\\r/' $D/o; sed 's/^/! /; s/\r$//' $D/e; echo "rc=$rc"; }
r curl -sS http://web:8080/
r curl -sS 10.77.0.2:8080/a?b=c
r curl -sSi http://web:8080/
r curl -sSI http://web:8080/
r curl -sSv http://web:8080/p
r curl -sSv http://web:8087/
r curl -sSv -f http://web:8081/
r curl -sS http://web:8081/
r curl -sS -f http://web:8081/
r curl -sS http://web:8082/
r curl -sS -L http://web:8082/
r curl -sS http://web:8083/
r curl -sS http://web:8084/
r curl -sS http://web:8085/
r curl -sS -m 1 http://web:8086/
r curl -sS --connect-timeout 1 http://web:8090/
r curl -sSv --connect-timeout 1 http://web:8090/
r curl -sS -m 1 http://web:8090/
r curl -sS http://10.99.0.1/
r curl -sS http://10.77.0.77/
r curl -sS http://nothere.shop/
r curl -sSv http://nothere.shop/
r curl -sS --resolve nothere.shop:8080:10.77.0.2 http://nothere.shop:8080/
r curl -sSv --resolve nothere.shop:8080:10.77.0.2 http://nothere.shop:8080/
r curl -sS -o /dev/null -w '%{http_code} %{remote_ip}:%{remote_port}\n' http://web:8081/
r curl -sSk https://web:8080/
r curl -sS -v -H 'Host: other' -H 'X-A: b' -H 'Accept:' -d a=b http://web:8080/
r curl -sS -X PUT -v http://web:8080/z
r curl -sS 'http://a b/'
r curl
r nc -zv web 8080
r nc -zv 10.77.0.2 8080
r nc -zv web 8087
r nc -z web 8087
r nc -zv -w1 web 8090
r nc -zv -w1 10.77.0.77 80
r nc -zv 10.99.0.1 80
r nc -zv nothere.shop 80
r nc -zvn web 80
r nc -zv web 8079-8082
r nc -zuv web 5353
r nc -zuv web 5354
r nc -zv web 70000
r nc -zv 10.77.0.2 80
r wget -qO- http://web:8080/
r wget -qO- http://web:8081/
r wget -qO- http://web:8087/
r wget -qO- http://nothere.shop/
kill $P; ip netns del pw-rec-a; ip netns del pw-rec-b
