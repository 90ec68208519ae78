package load

import "testing"

func TestDataDirIsReadFromBrokenFilesToo(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"":                                      "",
		"[settings]\ndata_dir = \"/srv/ten\"\n": "/srv/ten",
		"settings.data_dir = 'here'":            "here",
		"[service.web]\ncommand = 3\n[settings]\ndata_dir = \"./d\"\n": "./d",
		"[settings]\ndata_dir = \"d\"\n[service.web\ncommand = ":       "d",
		"[settings]\ndata_dir = 5":                                     "",
		"settings = 5":                                                 "",
		"\xff\xfe":                                                     "",
		"[[settings]]\ndata_dir = \"x\"":                               "",
	} {
		if got := DataDir([]byte(config)); got != want {
			t.Errorf("DataDir(%q) = %q, want %q", config, got, want)
		}
	}
}
