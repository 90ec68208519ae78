package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
)

func TestDataDirectories(t *testing.T) {
	t.Parallel()
	d := &daemon{instances: []api.Instance{
		{Service: "web", ID: "prod", Phase: runtimes.Running},
		{Service: "web", ID: "prod", Phase: runtimes.Stopped}, // an old incarnation beside it
		{Service: "web", ID: "old", Phase: runtimes.Stopped},
	}}
	dir := serveDaemon(t, d)
	for path, content := range map[string]string{
		"web/prod/db": strings.Repeat("x", 1500), "web/old/a/b": "12345", "gone/main/f": "", ".ten/ten.db": "x", "web/README": "no instance",
	} {
		name := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A link out of a data directory must not take what it points to along.
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "gone/main/link")); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := ten(t, dir, "data", "list", "--data-dir", dir)
	want := fmt.Sprintf(`INSTANCE             SIZE     OWNER    PATH
gone:main            0 B      none     %[1]s/gone/main
web:old              5 B      stopped  %[1]s/web/old
web:prod             1.5 kB   running  %[1]s/web/prod
`, dir)
	if stdout != want || stderr != "" || code != 0 {
		t.Errorf("data list = %d %q\n got:\n%s\nwant:\n%s", code, stderr, stdout, want)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string // in stderr
	}{
		{[]string{"web:prod", "--yes"}, 1, "web:prod is running"},
		{[]string{"web:old"}, 1, "--yes"},
		{[]string{"web:none", "--yes"}, 1, "web:none has no data"},
		{[]string{"..:x", "--yes"}, 2, "no such name is possible"},
		{[]string{"web:..", "--yes"}, 2, "no such name is possible"},
		{[]string{"web:old", "gone:main", "--yes"}, 0, ""},
	} {
		_, stderr, code := ten(t, dir, append([]string{"data", "rm", "--data-dir", dir}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("data rm %q = %d %q, want %d %q", tt.args, code, stderr, tt.code, tt.want)
		}
	}
	for path, want := range map[string]bool{"web/prod/db": true, "web/old": false, "gone": false, ".ten/trash": false, ".ten/ten.db": true} {
		_, err := os.Stat(filepath.Join(dir, path))
		if (err == nil) != want || (err != nil && !errors.Is(err, os.ErrNotExist)) {
			t.Errorf("%s exists: %v, want %v", path, err == nil, want)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("data rm followed a link: %v", err)
	}
}
