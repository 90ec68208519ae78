package plan_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"testing"
	"testing/fstest"

	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// loadModel loads the tree of a case as a host would.
func loadModel(t *testing.T, files map[string][]byte) *schema.Model {
	t.Helper()
	tree := caseTree{fstest.MapFS{}}
	for name, data := range files {
		tree.MapFS[name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	model, problems, err := load.New(load.Config{}).Load(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("the case's config: %v", p)
	}
	if model == nil {
		t.FailNow()
	}
	return model
}

// caseTree is files in memory with ids made the way git makes them.
type caseTree struct{ fstest.MapFS }

func (c caseTree) ID(name string) (string, error) {
	sum, _, err := c.hash(name)
	return hex.EncodeToString(sum), err
}

// hash gives the id of a file or directory and its mode as git writes it.
func (c caseTree) hash(name string) (sum []byte, mode string, err error) {
	info, err := fs.Stat(c.MapFS, name)
	if err != nil {
		return nil, "", err
	}
	if !info.IsDir() {
		data, err := fs.ReadFile(c.MapFS, name)
		return object("blob", data), "100644", err
	}
	entries, err := fs.ReadDir(c.MapFS, name)
	if err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	for _, e := range entries {
		sum, mode, err := c.hash(path.Join(name, e.Name()))
		if err != nil {
			return nil, "", err
		}
		fmt.Fprintf(&b, "%s %s\x00%s", mode, e.Name(), sum)
	}
	return object("tree", b.Bytes()), "40000", nil
}

func object(kind string, data []byte) []byte {
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d\x00%s", kind, len(data), data))
	return sum[:]
}
