package launch

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// The files of a run directory; doc.go tells what they hold.
const (
	recordFile = "record"
	handleLink = "init"
	outPipe    = "out"
	errPipe    = "err"
	exitFile   = "exit"
	stopMark   = "stop"
)

// record is what a start writes down before the program may run.
type record struct {
	Version   int           `json:"version"`
	Spec      runtimes.Spec `json:"spec"`
	StartedAt time.Time     `json:"started_at"`
	Cgroup    bool          `json:"cgroup"`
}

// runDir is the run directory of one incarnation.
type runDir string

func (d runDir) file(name string) string { return string(d) + "/" + name }

func (v *Level) dir(key runtimes.Key) runDir {
	return runDir(filepath.Join(v.root(), key.Service, key.Instance, strconv.FormatUint(key.Generation, 10)))
}

func (v *Level) root() string { return filepath.Join(v.l.cfg.RunDir, string(v.name)) }

// create makes the directory and locks it. The parents may vanish meanwhile,
// when the last other generation of the instance is removed.
func (d runDir) create() (*os.File, error) {
	var err error
	for range 100 {
		if err = os.Mkdir(string(d), 0o700); err == nil {
			return d.lock()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err = os.MkdirAll(filepath.Dir(string(d)), 0o700); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, err
}

// lock takes the lock that says a start is under way; closing the file, or
// dying, gives it back. unix.EWOULDBLOCK means that somebody else holds it.
func (d runDir) lock() (*os.File, error) {
	fd, err := unix.Open(string(d), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: string(d), Err: err}
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "lock", Path: string(d), Err: err}
	}
	return os.NewFile(uintptr(fd), string(d)), nil
}

// remove deletes the directory and those above it that are empty now.
func (d runDir) remove() error {
	names := []string{handleLink, stopMark, recordFile, recordFile + ".new", exitFile, outPipe, errPipe}
	for _, name := range names {
		if err := unix.Unlink(d.file(name)); err != nil && err != unix.ENOENT {
			return &fs.PathError{Op: "remove", Path: d.file(name), Err: err}
		}
	}
	if err := unix.Rmdir(string(d)); err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "remove", Path: string(d), Err: err}
	}
	id := filepath.Dir(string(d))
	if unix.Rmdir(id) == nil {
		unix.Rmdir(filepath.Dir(id))
	}
	return nil
}

func (d runDir) writeRecord(rec *record, name string) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return os.WriteFile(d.file(name), b, 0o600)
}

func (d runDir) readRecord() (*record, error) {
	b, err := os.ReadFile(d.file(recordFile))
	if err != nil {
		return nil, err
	}
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, fmt.Errorf("%s: %w", d.file(recordFile), err)
	}
	if rec.Version != 1 {
		return nil, fmt.Errorf("%s: version %d is not known to this program", d.file(recordFile), rec.Version)
	}
	return &rec, nil
}

// readHandle gives fs.ErrNotExist for a start that was never finished.
func (d runDir) readHandle() (handle, error) {
	s, err := os.Readlink(d.file(handleLink))
	if err != nil {
		return handle{}, err
	}
	return parseHandle(s)
}

func (d runDir) marked() bool { return unix.Access(d.file(stopMark), unix.F_OK) == nil }

// readExit reports false while init has not said how the program ended.
func readExit(f *os.File) (wire.Exit, bool) {
	var b [wire.ExitSize]byte
	n, _ := f.ReadAt(b[:], 0)
	return wire.DecodeExit(b[:n])
}

func (d runDir) exit() (wire.Exit, bool) {
	b, err := readProc(d.file(exitFile))
	if err != nil {
		return wire.Exit{}, false
	}
	return wire.DecodeExit(b)
}

// keys lists the run directories of the level. What is not named like one is
// not ours and is an error: it must not be taken for nothing.
func (v *Level) keys() ([]runtimes.Key, error) {
	var keys []runtimes.Key
	services, err := dirNames(v.root())
	if err != nil {
		return nil, err
	}
	for _, service := range services {
		ids, err := dirNames(filepath.Join(v.root(), service))
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			generations, err := dirNames(filepath.Join(v.root(), service, id))
			if err != nil {
				return nil, err
			}
			for _, g := range generations {
				n, err := strconv.ParseUint(g, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("%s/%s/%s/%s: not a run directory; remove it by hand", v.root(), service, id, g)
				}
				keys = append(keys, runtimes.Key{ID: runtimes.ID{Service: service, Instance: id}, Generation: n})
			}
		}
	}
	slices.SortFunc(keys, func(a, b runtimes.Key) int {
		if c := a.ID.Compare(b.ID); c != 0 {
			return c
		}
		return cmp.Compare(a.Generation, b.Generation)
	})
	return keys, nil
}

// dirNames lists a directory; one that is gone holds nothing.
func dirNames(path string) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
