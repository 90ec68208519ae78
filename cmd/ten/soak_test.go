package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/runtimes"
)

// The soak: how many instances there are, how many of them are asked at a time,
// and how long each set is asked before the next one's turn.
const (
	soakServices = 20
	soakIDs      = 10
	soakAwake    = 20
	soakTurn     = 4 * time.Second
	soakClients  = 6
)

// TestSoak runs 200 instances of which 20 are asked at a time, while instances
// are killed and revisions pushed at random. Whoever asks gets 200, whatever
// happens; in the end all sleep, no process is left, and the daemon is as small
// as it was. TEN_SOAK=10m makes it long; make soak does.
func TestSoak(t *testing.T) {
	long := 10 * time.Second
	if d, err := time.ParseDuration(os.Getenv("TEN_SOAK")); err == nil {
		long = d
	} else if testing.Short() {
		t.Skip("takes half a minute")
	}
	s := newSoak(t)
	s.asking(long / 4) // what grows once is not what leaks
	before := s.memory()
	s.asking(long)
	after := s.memory()
	t.Logf("%d requests, %d kills, %d pushes; daemon %d kB, then %d kB", s.asked.Load(), s.kills, s.pushes, before>>10, after>>10)
	if n := s.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests were not answered with 200\n%s%s", n, s.asked.Load(), s.failures(), s.log())
	}
	if after > before+before/4+(8<<20) {
		t.Errorf("the daemon grew from %d to %d kB", before>>10, after>>10)
	}
	if s.asked.Load() == 0 || s.kills == 0 || s.pushes == 0 {
		t.Error("the soak did not do what it is for")
	}
	s.eventually("all sleep", func() bool { return len(s.programs()) == 0 })
	s.down()
	s.nothingLeft()
}

type soak struct {
	*world
	address       string
	random        *rand.Rand
	kills, pushes int

	asked, failed atomic.Int64
	ill           sync.Map                      // the first failure of each instance that had one
	turn          atomic.Pointer[[]runtimes.ID] // who is asked now
}

func newSoak(t *testing.T) *soak {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	seed, err := proptest.Seed()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("TEN_SEED=%d", seed)
	s := &soak{world: newWorld(t), address: "127.0.0.1:" + port, random: rand.New(rand.NewPCG(seed, 3))}
	s.args = []string{"--port", port, "--bind", "127.0.0.1", "--domain", "test.example", "--poll", "5m"}
	for i := range soakServices {
		s.write(fmt.Sprintf("services/s%d.toml", i), s.config(i, "0"))
	}
	s.write("tenement.toml", "[settings]\nmax_restarts = 100000\nbackoff_base_ms = 1\nbackoff_max_ms = 20\n")
	rev := s.push("first")
	s.serve()
	s.await(rev)
	return s
}

// config is a service of soakIDs instances that sleep after a second.
func (s *soak) config(i int, value string) string {
	ids := make([]string, soakIDs)
	for n := range ids {
		ids[n] = fmt.Sprintf("%q", "i"+strconv.Itoa(n))
	}
	return fmt.Sprintf("[service.s%d]\ncommand = %q\nisolation = %q\nsource = \"prog\"\nenv = { VALUE = %q }\ninstances = [%s]\non_demand = true\nidle_timeout = 1\nstop_timeout = 2\n",
		i, "./"+s.program, s.isolation, value, strings.Join(ids, ", "))
}

// asking lets clients ask for a while, and disturbs.
func (s *soak) asking(long time.Duration) {
	s.choose()
	end := time.Now().Add(long)
	var clients sync.WaitGroup
	for range soakClients {
		clients.Go(func() { s.client(end) })
	}
	for next, n := time.Now().Add(soakTurn), 0; time.Now().Before(end); n++ {
		time.Sleep(time.Duration(400+s.random.IntN(1200)) * time.Millisecond)
		s.strike()
		if n%3 == 2 {
			i := s.random.IntN(soakServices)
			s.write(fmt.Sprintf("services/s%d.toml", i), s.config(i, strconv.Itoa(s.pushes)+"x"))
			s.push("edit " + strconv.Itoa(s.pushes))
			s.pushes++
		}
		if time.Now().After(next) {
			s.choose()
			next = time.Now().Add(soakTurn)
		}
	}
	clients.Wait()
}

// choose says who is asked from now on.
func (s *soak) choose() {
	ids := make([]runtimes.ID, soakAwake)
	for i := range ids {
		ids[i] = runtimes.ID{Service: "s" + strconv.Itoa(s.random.IntN(soakServices)), Instance: "i" + strconv.Itoa(s.random.IntN(soakIDs))}
	}
	s.turn.Store(&ids)
}

// strike kills one program.
func (s *soak) strike() {
	pids := s.programs()
	if len(pids) == 0 {
		return
	}
	if p, err := os.FindProcess(pids[s.random.IntN(len(pids))]); err == nil && p.Signal(syscall.SIGKILL) == nil {
		s.kills++
	}
}

func (s *soak) client(end time.Time) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	random := rand.New(rand.NewPCG(rand.Uint64(), 4))
	for time.Now().Before(end) {
		ids := *s.turn.Load()
		id := ids[random.IntN(len(ids))]
		s.asked.Add(1)
		if err := s.ask(client, id); err != nil {
			s.failed.Add(1)
			s.ill.LoadOrStore(id, fmt.Sprintf("%s: %v", time.Now().UTC().Format(time.RFC3339Nano), err))
		}
	}
}

func (s *soak) ask(client *http.Client, id runtimes.ID) error {
	request, err := http.NewRequest(http.MethodGet, "http://"+s.address+"/", nil)
	if err != nil {
		return err
	}
	request.Host = id.Instance + "." + id.Service + ".test.example"
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || string(body) != "ok\n") {
		err = fmt.Errorf("%s: %q", answer.Status, body)
	}
	return err
}

// failures tells of each instance that failed someone, and what the daemon said of it.
func (s *soak) failures() string {
	var text strings.Builder
	logged, err := os.ReadFile(filepath.Join(s.root, "serve.log"))
	if err != nil {
		return err.Error()
	}
	s.ill.Range(func(id, what any) bool {
		fmt.Fprintf(&text, "%s at %s\n", id, what)
		for line := range strings.Lines(string(logged)) {
			if strings.Contains(line, fmt.Sprintf("instance=%s ", id)) {
				text.WriteString("\t" + line)
			}
		}
		return true
	})
	return text.String()
}

// memory is what the daemon has in memory, in bytes.
func (s *soak) memory() int64 {
	runtime.GC() // of the test itself, which runs beside it
	statm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.daemon.Process.Pid), "statm"))
	if err != nil {
		s.t.Fatal(err)
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
