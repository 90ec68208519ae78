package install_test

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bootPatience is how long the guest may take from its first boot to its end.
const bootPatience = 20 * time.Minute

// TestSystemd installs ten on a machine of its own, where systemd is the first
// process: a guest that qemu emulates, without any network but its loopback. What
// is tried there stands in guest_linux_test.go. make test-systemd makes the disk.
func TestSystemd(t *testing.T) {
	image := os.Getenv("TEN_GUEST")
	if image == "" {
		t.Skip("there is no machine to install on: make test-systemd makes one")
	}
	dir := t.TempDir()
	disk, payload := filepath.Join(dir, "root.img"), filepath.Join(dir, "payload.tar")
	command(t, "", "cp", "--sparse=always", filepath.Join(image, "root.img"), disk)
	pack(t, dir, payload)
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	qemu := exec.CommandContext(ctx, "nice", "-n", "5", "qemu-system-x86_64",
		"-accel", "tcg", "-machine", "q35", "-cpu", "Nehalem", "-smp", "1", "-m", "768",
		"-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-serial", "stdio",
		"-drive", "file="+disk+",format=raw,if=none,id=root,cache=unsafe", "-device", "nvme,drive=root,serial=root",
		"-drive", "file="+payload+",format=raw,if=none,id=payload,readonly=on", "-device", "nvme,drive=payload,serial=payload",
		"-kernel", filepath.Join(image, "vmlinuz"), "-append",
		"root=/dev/nvme0n1 rw console=ttyS0 quiet loglevel=3 mitigations=off audit=0 random.trust_bootloader=on systemd.show_status=0")
	out, err := qemu.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	qemu.Stderr = t.Output()
	qemu.WaitDelay = 10 * time.Second
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	passed := map[string]bool{}
	began := time.Now()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		t.Logf("%5.1f %s", time.Since(began).Seconds(), line)
		if boot, ok := strings.CutPrefix(line, "guest: passed "); ok {
			passed[boot] = true
		}
		if strings.Contains(line, "systemd-shutdown") && strings.Contains(line, "Waiting for process") {
			t.Errorf("instances hold up the end of the host: %s", line)
		}
	}
	if err := qemu.Wait(); err != nil {
		t.Errorf("the guest did not end by itself: %v", err)
	}
	for _, boot := range []string{"TestFirstBoot", "TestSecondBoot"} {
		if !passed[boot] {
			t.Errorf("%s did not pass in the guest", boot)
		}
	}
}

// boots runs in the guest at each of its boots.
const boots = `#!/bin/sh
cd /payload
boot=TestSecondBoot
[ -e booted ] || boot=TestFirstBoot
touch booted
TEN_IN_GUEST=1 ./cases -test.v -test.timeout 10m -test.run "^$boot$" 2>&1 && echo "guest: passed $boot" || boot=failed
sync
case $boot in
TestFirstBoot) systemctl start --no-block reboot.target;;
*) systemctl start --no-block poweroff.target;;
esac
`

// pack writes what the guest gets: ten, these tests, and a repository.
func pack(t *testing.T, dir, file string) {
	t.Helper()
	tree := filepath.Join(dir, "payload")
	clone := filepath.Join(dir, "clone")
	for _, d := range []string{tree, filepath.Join(clone, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "../..", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(tree, "ten"), "./cmd/ten")
	command(t, "../..", "go", "build", "-ldflags", "-s -w", "-o", filepath.Join(clone, "bin", "noop"), "./testdata/noop")
	command(t, "", "go", "test", "-c", "-ldflags", "-s -w", "-o", filepath.Join(tree, "cases"), ".")
	for name, text := range map[string]string{filepath.Join(tree, "run"): boots, filepath.Join(clone, "tenement.toml"): guestConfig} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, clone, "git", "init", "-q", "-b", "main")
	command(t, clone, "git", "add", "-A")
	command(t, clone, "git", "-c", "user.name=Ana", "-c", "user.email=ana@example.com", "commit", "-q", "-m", "first")
	command(t, "", "git", "clone", "-q", "--bare", clone, filepath.Join(tree, "services.git"))
	archive(t, dir, file)
}

// archive packs the payload. It needs to be a whole number of blocks, for it is
// read as a disk.
func archive(t *testing.T, dir, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	err = filepath.Walk(filepath.Join(dir, "payload"), func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		if err := w.WriteHeader(h); err != nil || info.IsDir() {
			return err
		}
		from, err := os.Open(path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(w, from)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate((at + 1<<20 - 1) >> 20 << 20); err != nil {
		t.Fatal(err)
	}
}

// command runs a program of this machine.
func command(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
