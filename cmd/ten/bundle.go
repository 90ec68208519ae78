package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tenement/ten/export"
)

// A bundle on disk: written whole, never outside its directory, and nothing
// removed that ten did not write.

// reportName is the file of a bundle that tells of it.
const reportName = "export-report.json"

// exportReport is export-report.json: what was lost, how it was exported, and
// what was written, so that a later export knows its own files.
type exportReport struct {
	FormatVersion int           `json:"format_version"`
	Target        string        `json:"target"`
	Project       string        `json:"project"`
	Region        string        `json:"region,omitempty"`
	Registry      string        `json:"registry,omitempty"`
	Losses        []export.Loss `json:"losses"`
	Steps         []string      `json:"steps"`
	Files         []writtenFile `json:"files"` // the report itself is not among them
}

type writtenFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

func newReport(t export.Target, o export.Options, b export.Bundle, losses []export.Loss) exportReport {
	r := exportReport{
		FormatVersion: 1, Target: t.Name, Project: o.Project, Region: o.Region, Registry: o.Registry,
		Losses: append([]export.Loss{}, losses...), Steps: append([]string{}, b.Steps...), Files: []writtenFile{},
	}
	for _, f := range b.Files {
		r.Files = append(r.Files, writtenFile{f.Path, hash(f.Data)})
	}
	return r
}

// withReport adds the report as the last file.
func withReport(b export.Bundle, r exportReport) export.Bundle {
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		panic("export: a report without JSON form: " + err.Error()) // it is strings and numbers
	}
	b.Files = append(slices.Clip(b.Files), export.File{Path: reportName, Data: data.Bytes()})
	return b
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// readReport reads what an earlier export left in a directory, nil where there
// is none.
func readReport(dir string) (*exportReport, error) {
	data, err := os.ReadFile(filepath.Join(dir, reportName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last export: %w", err)
	}
	var r exportReport
	if err := json.Unmarshal(data, &r); err != nil || r.FormatVersion != 1 {
		return nil, &hintError{
			fmt.Errorf("%s is no report of this version of ten", filepath.Join(dir, reportName)), "remove it, or choose another directory: --out DIR",
		}
	}
	return &r, nil
}

// writeBundle makes a directory hold the bundle. New files are complete before
// the first old one goes. Files of the export before that are not in it any more
// are removed; those that somebody changed are kept and named.
func writeBundle(dir string, before *exportReport, b export.Bundle) (kept []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	defer root.Close()
	var written []string
	defer func() {
		for _, p := range written { // what is left after a failure
			root.Remove(fresh(p))
		}
	}()
	for _, f := range b.Files {
		if same, err := root.ReadFile(f.Path); err == nil && bytes.Equal(same, f.Data) && isRegular(root, f.Path) {
			continue
		}
		if err := writeFresh(root, f); err != nil {
			return nil, fmt.Errorf("write %s: %w", filepath.Join(dir, f.Path), err)
		}
		written = append(written, f.Path)
	}
	for len(written) > 0 {
		if err := root.Rename(fresh(written[0]), written[0]); err != nil {
			return nil, fmt.Errorf("write %s: %w", filepath.Join(dir, written[0]), err)
		}
		written = written[1:]
	}
	return removeStale(root, before, b)
}

// fresh is where a file is written before it takes its place.
func fresh(p string) string { return path.Join(path.Dir(p), ".ten-new-"+path.Base(p)) }

func writeFresh(root *os.Root, f export.File) error {
	if err := root.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
		return err
	}
	if info, err := root.Lstat(f.Path); err == nil && info.IsDir() {
		return errors.New("a directory is in its place")
	}
	if err := root.Remove(fresh(f.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := root.OpenFile(fresh(f.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(f.Data)
	return errors.Join(err, w.Close())
}

func isRegular(root *os.Root, p string) bool {
	info, err := root.Lstat(p)
	return err == nil && info.Mode().IsRegular()
}

func removeStale(root *os.Root, before *exportReport, b export.Bundle) (kept []string, err error) {
	for _, old := range stale(before, b) {
		data, err := root.ReadFile(old.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil || hash(data) != old.SHA256:
			kept = append(kept, old.Path)
			continue
		}
		if err := root.Remove(old.Path); err != nil {
			return kept, fmt.Errorf("remove %s of an earlier export: %w", old.Path, err)
		}
		for dir := path.Dir(old.Path); dir != "."; dir = path.Dir(dir) {
			if root.Remove(dir) != nil { // not empty
				break
			}
		}
	}
	return kept, nil
}

// stale are the files of the export before that the bundle has no more.
func stale(before *exportReport, b export.Bundle) []writtenFile {
	if before == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(before.Files), func(w writtenFile) bool {
		return !fs.ValidPath(w.Path) || slices.ContainsFunc(b.Files, func(f export.File) bool { return f.Path == w.Path })
	})
}

// difference is one file that is not as it should be.
type difference struct{ path, how string }

// compareBundle names the files of a directory that are not those of the bundle.
// Files that no export wrote are nobody's business.
func compareBundle(dir string, before *exportReport, b export.Bundle) ([]difference, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &hintError{fmt.Errorf("%s does not exist: nothing was exported there", dir), "export first, without --check"}
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	defer root.Close()
	var all []difference
	for _, f := range b.Files {
		switch data, err := root.ReadFile(f.Path); {
		case errors.Is(err, fs.ErrNotExist):
			all = append(all, difference{f.Path, "missing  "})
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, f.Path), err)
		case !bytes.Equal(data, f.Data):
			all = append(all, difference{f.Path, "differs  "})
		}
	}
	for _, old := range stale(before, b) {
		if _, err := root.Lstat(old.Path); err == nil {
			all = append(all, difference{old.Path, "left over"})
		}
	}
	slices.SortFunc(all, func(a, b difference) int { return strings.Compare(a.path, b.path) })
	return all, nil
}
