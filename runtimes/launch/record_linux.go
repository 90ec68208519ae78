package launch

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

const (
	stopMarkOffset = wire.ExitSize // one byte, 1 once Stop has begun
	// One byte, 1 from before the incarnation is frozen until it has been thawed.
	suspendMarkOffset = stopMarkOffset + 1
	headerSize        = 64
	updateSuffix      = ".update"
)

// recordPath is the record file of one incarnation; doc.go draws what is in it.
type recordPath string

func (v *Level) root() string { return v.l.cfg.RunDir + "/" + string(v.name) }

func (v *Level) path(key runtimes.Key) recordPath {
	return recordPath(v.root() + "/" + key.String())
}

// parseKey reads a file name of the run directory back into the key. Files
// beside a record, such as its update, belong to no key.
func parseKey(name string) (runtimes.Key, bool) {
	id, generation, ok := strings.Cut(name, "#")
	if !ok {
		return runtimes.Key{}, false
	}
	n, err := strconv.ParseUint(generation, 10, 64)
	parsed, idErr := runtimes.ParseID(id)
	key := runtimes.Key{ID: parsed, Generation: n}
	return key, err == nil && idErr == nil && key.String() == name
}

// keys lists the incarnations of the level, sorted.
func (v *Level) keys() ([]runtimes.Key, error) {
	dir, err := os.Open(v.root())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	keys := make([]runtimes.Key, 0, len(names))
	for _, name := range names {
		if key, ok := parseKey(name); ok {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b runtimes.Key) int {
		return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.Generation, b.Generation))
	})
	return keys, nil
}

// record is what a start writes down before the program may run.
type record struct {
	Version   int           `json:"version"`
	Spec      runtimes.Spec `json:"spec"`
	StartedAt time.Time     `json:"started_at"`
}

// entry is a record file as read.
type entry struct {
	init      handle
	rec       *record // nil when broken says why
	exit      wire.Exit
	ended     bool    // exit is there
	suspended bool    // it was to be frozen; whether it is, the machine knows
	stop      bool    // Stop has begun
	tag       [8]byte // of the socket file that init made
	// broken is set for a file that is not as a start leaves it.
	broken error
}

// errUnfinished is a record file into which no handle was written: its start is
// under way, or died before the program could run.
var errUnfinished = errors.New("start was not finished")

// create makes the file and locks it: the lock says that a start is under way.
// Closing the file, or dying, gives it back. A look that comes between the two
// takes the file for what a dead start left and removes it; then it is made anew.
func (p recordPath) create(root string) (*os.File, error) {
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC
	for {
		fd, err := unix.Open(string(p), flags, 0o600)
		if err == unix.ENOENT {
			if err := os.MkdirAll(root, 0o700); err != nil {
				return nil, err
			}
			fd, err = unix.Open(string(p), flags, 0o600)
		}
		if err != nil {
			return nil, err
		}
		if err = unix.Flock(fd, unix.LOCK_EX); err == unix.EINTR {
			err = unix.Flock(fd, unix.LOCK_EX)
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err == nil && st.Nlink > 0 {
			return os.NewFile(uintptr(fd), string(p)), nil
		}
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
	}
}

// write fills the file in one go, which is what makes the instance exist.
func (r *record) write(f *os.File, h handle) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	b := make([]byte, headerSize, headerSize+128+len(body))
	b = fmt.Appendf(b, "%s:%d\n", h, len(body))
	b = append(append(b, body...), '\n')
	_, err = f.WriteAt(b, 0)
	return err
}

// read reads the file. fs.ErrNotExist means that there is none, errUnfinished
// that no instance came of it; what else is wrong is told in the entry.
func (p recordPath) read() (*entry, error) {
	f, err := os.Open(string(p))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e, err := readEntry(f)
	if err != nil || e.rec == nil {
		return e, err
	}
	b, err := os.ReadFile(string(p) + updateSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	var spec runtimes.Spec
	if err == nil {
		err = json.Unmarshal(b, &spec)
	}
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", p, updateSuffix, err)
	}
	e.rec.Spec = spec
	return e, nil
}

func readEntry(f *os.File) (*entry, error) {
	b := make([]byte, 4096)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	b = b[:n]
	e := &entry{}
	e.exit, e.ended = wire.DecodeExit(b)
	if len(b) <= headerSize {
		return nil, errUnfinished
	}
	e.stop, e.suspended = b[stopMarkOffset] == 1, b[suspendMarkOffset] == 1
	copy(e.tag[:], b[wire.TagOffset:])
	line, rest, ok := bytes.Cut(b[headerSize:], []byte("\n"))
	var size int
	if e.init, size, err = parseFirstLine(string(line)); err != nil || !ok {
		e.broken = fmt.Errorf("%s: %w", f.Name(), cmp.Or(err, io.ErrUnexpectedEOF))
		return e, nil
	}
	if size > len(rest) {
		whole := make([]byte, size)
		if _, err := f.ReadAt(whole, int64(headerSize+len(line)+1)); err != nil {
			e.broken = fmt.Errorf("%s: %w", f.Name(), err)
			return e, nil
		}
		rest = whole
	}
	rec := &record{}
	if err := json.Unmarshal(rest[:size], rec); err != nil {
		e.broken = fmt.Errorf("%s: %w", f.Name(), err)
	} else if rec.Version != 1 {
		e.broken = fmt.Errorf("%s: version %d is not known to this program", f.Name(), rec.Version)
	} else {
		e.rec = rec
	}
	return e, nil
}

// parseFirstLine reads "1:pid:start:boot:size".
func parseFirstLine(line string) (handle, int, error) {
	i := strings.LastIndexByte(line, ':')
	if i < 0 {
		return handle{}, 0, fmt.Errorf("first line %q: unknown form", line)
	}
	h, err := parseHandle(line[:i])
	if err != nil {
		return handle{}, 0, err
	}
	size, err := strconv.Atoi(line[i+1:])
	if err != nil || size < 0 || size > wire.MaxPlan*2 {
		return handle{}, 0, fmt.Errorf("first line %q: unknown form", line)
	}
	return h, size, nil
}

// readExit reports false while init has not said how the program ended.
func readExit(f *os.File) (wire.Exit, bool) {
	var b [wire.ExitSize]byte
	n, _ := f.ReadAt(b[:], 0)
	return wire.DecodeExit(b[:n])
}

// mark changes one byte of the header.
func (p recordPath) mark(offset int64, b byte) error {
	f, err := os.OpenFile(string(p), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{b}, offset)
	return err
}

// remove deletes the record. The update goes first: without the record it would
// belong to nothing.
func (p recordPath) remove() error {
	for _, name := range []string{string(p) + updateSuffix, string(p)} {
		if err := unix.Unlink(name); err != nil && err != unix.ENOENT {
			return &fs.PathError{Op: "remove", Path: name, Err: err}
		}
	}
	return nil
}
