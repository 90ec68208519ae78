package notify

import (
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tenement/ten/runtimes"
)

func key(instance string) runtimes.Key {
	return runtimes.Key{ID: runtimes.ID{Service: "web", Instance: instance}, Generation: 1}
}

func TestParse(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, message string
		before, after Said
	}{
		{"nothing", "", Said{}, Said{}},
		{"ready", "READY=1\nSTATUS=fine", Said{}, Said{Ready: true}},
		{"ready for good", "READY=0", Said{Ready: true}, Said{Ready: true}},
		{"busy", "BUSY=1\n", Said{}, Said{busy: []string{""}}},
		{"busy twice is once", "BUSY=1", Said{busy: []string{""}}, Said{busy: []string{""}}},
		{"idle", "BUSY=0", Said{busy: []string{""}}, Said{busy: []string{}}},
		{"other spellings", "X-TEN-BUSY=1", Said{}, Said{busy: []string{""}}},
		{"a part of it", "X_TEN_HOLDER=b\nBUSY=1", Said{busy: []string{"", "c"}}, Said{busy: []string{"", "b", "c"}}},
		{"a part that is done", "BUSY=0\nX_TEN_HOLDER=b", Said{busy: []string{"b", "c"}}, Said{busy: []string{"c"}}},
		{"a part that was not busy", "BUSY=0\nX_TEN_HOLDER=x", Said{busy: []string{"b"}}, Said{busy: []string{"b"}}},
		{"no yes and no no", "BUSY=2\nBUSY=\nBUSY", Said{busy: []string{"b"}}, Said{busy: []string{"b"}}},
		{"others' words", "MAINPID=1\nFDSTORE=1\n=\n\n\x00", Said{}, Said{}},
		{"a name too long counts as none", "BUSY=1\nX_TEN_HOLDER=" + strings.Repeat("x", 65), Said{}, Said{busy: []string{""}}},
	}
	for _, c := range cases {
		if got := parse(c.message, c.before); !reflect.DeepEqual(got, c.after) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.after)
		}
	}
	var many Said
	for i := range 1000 {
		many = parse("BUSY=1\nX_TEN_HOLDER="+strings.Repeat("x", i%60)+string(rune('a'+i%26)), many)
	}
	if len(many.busy) > maxHolders {
		t.Errorf("%d parts are kept, at most %d", len(many.busy), maxHolders)
	}
}

// What was said outlasts the listener, as long as the one who said it is there.
func TestKept(t *testing.T) {
	t.Parallel()
	gone := map[runtimes.Key]bool{}
	var changed []runtimes.Key
	cfg := Config{
		Keep: filepath.Join(t.TempDir(), "said"), Log: slog.New(slog.DiscardHandler),
		Has:     func(k runtimes.Key) bool { return !gone[k] },
		Changed: func(k runtimes.Key) { changed = append(changed, k) },
	}
	n, err := newNotes(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct{ who, what string }{
		{"a", "READY=1\nBUSY=1\nX_TEN_HOLDER=one"}, {"a", "BUSY=1\nX_TEN_HOLDER=two"}, {"b", "BUSY=1"}, {"b", "BUSY=0"}, {"b", "BUSY=0"}, {"c", "BUSY=1"},
	} {
		if err := n.hear(key(m.who), m.what); err != nil {
			t.Fatal(err)
		}
	}
	if want := []runtimes.Key{key("a"), key("b"), key("b"), key("c")}; !reflect.DeepEqual(changed, want) {
		t.Errorf("told of changes of %v, want %v", changed, want)
	}
	gone[key("c")] = true
	again, err := newNotes(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]Said{"a": {Ready: true, busy: []string{"one", "two"}}, "b": {}, "c": {}} {
		if got := again.get(key(who)); got.Ready != want.Ready || len(got.busy) != len(want.busy) {
			t.Errorf("%s: after a restart %+v, want %+v", who, got, want)
		}
	}
	gone[key("a")] = true
	if err := again.hear(key("d"), "BUSY=1"); err != nil {
		t.Fatal(err)
	}
	if again.get(key("a")).Busy() {
		t.Error("one that is no more is remembered")
	}
	files, err := filepath.Glob(cfg.Keep + "/*")
	if err != nil || len(files) != 2 { // b, idle, and d
		t.Errorf("kept: %v, %v", files, err)
	}
}
