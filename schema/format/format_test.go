package format_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tenement/ten/schema/format"
)

// TestLayout compares every "NAME.in" of testdata with "NAME.want".
func TestLayout(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: no cases", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(archive.Files); i += 2 {
			in, want := archive.Files[i], archive.Files[i+1]
			t.Run(in.Name, func(t *testing.T) {
				t.Parallel()
				if got := layOut(t, in.Data); !bytes.Equal(got, want.Data) {
					t.Errorf("got\n%s\nwant\n%s", got, want.Data)
				}
			})
		}
	}
}

// layOut formats, and holds what every result must hold.
func layOut(t *testing.T, src []byte) []byte {
	t.Helper()
	got, err := format.TOML("f.toml", src)
	if err != nil {
		t.Fatal(err)
	}
	again, err := format.TOML("f.toml", got)
	if err != nil || !bytes.Equal(got, again) {
		t.Errorf("formatted twice is not formatted once (%v)\nonce\n%s\ntwice\n%s", err, got, again)
	}
	var before, after map[string]any
	errBefore := toml.Unmarshal(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")), &before)
	errAfter := toml.Unmarshal(got, &after)
	if (errBefore == nil) != (errAfter == nil) {
		t.Fatalf("before: %v, after: %v", errBefore, errAfter)
	}
	if x, y := dump(t, before), dump(t, after); errBefore == nil && x != y {
		t.Errorf("the meaning changed:\n%s\n%s", x, y)
	}
	return got
}

func dump(t *testing.T, v any) string {
	t.Helper()
	b, err := toml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOddBytesSurvive(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"byte order mark", "\xef\xbb\xbfa=1", "a = 1\n"},
		{"CRLF", "a=1\r\n\r\n\r\n[b]  # c \r\nc=2\r\n", "a = 1\n\n[b] # c\nc = 2\n"},
		{"CRLF in a string", "a=\"\"\"x\r\ny\"\"\"\r\nb='''\r\nz'''\r\n", "a = \"\"\"x\r\ny\"\"\"\nb = '''\r\nz'''\n"},
		{"quotes in long strings", `a=""""x"""""` + "\n" + `b=''''y'''''`, `a = """"x"""""` + "\n" + `b = ''''y'''''` + "\n"},
		{"escapes", `a="\"#\\"  # "c"`, `a = "\"#\\" # "c"` + "\n"},
		{"blanks at line ends in a string", "a=\"\"\"\n x \t\n\"\"\"", "a = \"\"\"\n x \t\n\"\"\"\n"},
		{"line end escaped", "a=\"\"\"x \\\n\n  y\"\"\"", "a = \"\"\"x \\\n\n  y\"\"\"\n"},
		{"quoted keys", "'a.b' . \"c\\\"]\" .d=1\n[ \"x]\" . y ]", "'a.b'.\"c\\\"]\".d = 1\n\n[\"x]\".y]\n"},
		{"dates", "a=1979-05-27 07:32:00 # c\nb=[07:32:00,1979-05-27T07:32:00-07:00]", "a = 1979-05-27 07:32:00 # c\nb = [07:32:00, 1979-05-27T07:32:00-07:00]\n"},
		{"nothing", "", ""},
		{"only blanks", " \n\t\n", ""},
		{"only a comment", "  #!x  ", "#!x\n"},
		{"empty brackets", "a=[ ]\nb={ }\nc=[\n]", "a = []\nb = {}\nc = []\n"},
		{"emptied by a comment", "a=[#c\n]", "a = [\n  #c\n]\n"},
		{"numbers", "a=0xDEAD_beef\nb=+1e-3\nc=-inf\nd=nan", "a = 0xDEAD_beef\nb = +1e-3\nc = -inf\nd = nan\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := layOut(t, []byte(tt.in)); string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFaultsArePlaced(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"no value", "a=1\nb =\n", "f.toml:2:4: error"},
		{"no equals sign", "a=1\nb\n", "f.toml:2:"},
		{"not UTF-8", "a=1\nb=\"\xff\"", "f.toml:2:4: error: byte 0xff is not UTF-8"},
		{"NUL", "a=\"\x00\"", "f.toml:1:"},
		{"no end", "a = [1, 2", "f.toml:1:"},
		{"an end of a string missing", "a = \"\"\"x", "f.toml:1:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := format.TOML("f.toml", []byte(tt.in))
			var syntax *format.SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestHostileFilesEnd: what is long or deep takes its time by the size of it.
func TestHostileFilesEnd(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"a line of 1 MB": "a=\"" + strings.Repeat("x", 1<<20) + "\"",
		"a long list":    "a=[" + strings.Repeat("1,", 1<<16) + "]",
		"a broken list":  "a=[" + strings.Repeat("1,\n", 1<<16) + "]",
		"deep":           "a=" + strings.Repeat("[\n", 9000) + strings.Repeat("]", 9000),
		"too deep":       "a=" + strings.Repeat("[", 1<<20),
		"comments":       strings.Repeat("#\n", 1<<16) + "[a]",
		"tables":         strings.Repeat("[[a]]\n#\n", 1<<14),
		"dots":           "a" + strings.Repeat(".a", 1<<15) + "=1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			out, err := format.TOML("f.toml", []byte(src))
			if err == nil && len(out) > 80*len(src) {
				t.Errorf("%d bytes became %d", len(src), len(out))
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// FuzzTOML: whatever is accepted keeps its meaning and its comments, and is
// formatted once and for all.
func FuzzTOML(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range archive.Files {
			f.Add(part.Data)
		}
	}
	valid, _ := filepath.Glob("../../testdata/demo/*/*.toml")
	for _, file := range valid {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := format.TOML("f.toml", src)
		if err != nil {
			if syntax := (*format.SyntaxError)(nil); !errors.As(err, &syntax) {
				t.Fatal(err) // the scanner and the parser disagree
			}
			return
		}
		if again, err := format.TOML("f.toml", out); err != nil || !bytes.Equal(out, again) {
			t.Fatalf("%v: once %q, twice %q", err, out, again)
		}
	})
}
