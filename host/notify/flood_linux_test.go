package notify_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

// TestAFloodIsNotHeard: an instance that says more than anybody can listen to is
// heard a little, and its neighbour as ever. Without the limit each of these
// would be looked up, written down and told on.
func TestAFloodIsNotHeard(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]string{
		"one process": `
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ["NOTIFY_SOCKET"])
for n in range(8000): s.send(b"BUSY=%d" % (n & 1))
`,
		"many processes": `
for child in range(40):
    if os.fork() == 0:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ["NOTIFY_SOCKET"])
        for n in range(200): s.send(b"BUSY=%d" % (n & 1))
        os._exit(0)
while True:
    try: os.wait()
    except ChildProcessError: break
`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			began := time.Now()
			flooder := h.start(runtimes.Namespace, "flooder", attack+`done("flooded"); time.sleep(1000)`)
			good := h.start(runtimes.Namespace, "good", `
say("READY=1"); done("ready")
while not os.path.exists("enough"): say("BUSY=1"); say("BUSY=0"); time.sleep(0.05)
done("heard"); time.sleep(1000)
`)
			h.made("good", "ready")
			if !h.listener.Said(good.Spec.Key).Ready {
				t.Error("the neighbour was not heard")
			}
			h.made("flooder", "flooded")
			h.let("good", "enough")
			h.made("good", "heard")
			seconds := int(time.Since(began)/time.Second) + 2
			h.mu.Lock()
			defer h.mu.Unlock()
			told := len(slices.DeleteFunc(slices.Clone(h.changed), func(k runtimes.Key) bool { return k != flooder.Spec.Key }))
			if most := 200 * seconds; told > most || told == 0 {
				t.Errorf("%d of 8,000 messages changed something in %d s, want at most %d", told, seconds, most)
			}
		})
	}
}

// TestWhatIsSentAlongStallsNobody: a socket that lingers takes its sender's time
// to close, and that is not taken from the neighbours.
func TestWhatIsSentAlongStallsNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(runtimes.Namespace, "attacker", `
def lingering():
    l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen()
    c = socket.socket(); c.connect(l.getsockname())
    c.setblocking(False)
    try:
        while True: c.send(b"x" * 65536)
    except BlockingIOError: pass
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))
    return l, c
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ["NOTIFY_SOCKET"])
kept = []
for n in range(4):
    l, c = lingering(); kept.append(l)
    s.sendmsg([b"STATUS=here"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", c.fileno()))])
    os.close(c.detach())
done("sent"); time.sleep(1000)
`)
	h.made("attacker", "sent")
	good := h.start(runtimes.Namespace, "good", `say("READY=1"); done("ready"); time.sleep(1000)`)
	h.made("good", "ready")
	if !h.listener.Said(good.Spec.Key).Ready {
		t.Error("the neighbour was not heard")
	}
}
