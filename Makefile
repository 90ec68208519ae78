# tenement: make builds bin/ten; make demo shows it; make test proves it.

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export CGO_ENABLED = 0

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all init check-go deps demo test test-short test-tofu test-pulumi test-systemd race lint bench soak chance clean

all: bin/ten

# The init is built first: ten carries it inside.
init: check-go
	$(GO) build -trimpath -ldflags '-s -w -buildid= -E main.entry' -o runtimes/launch/embedded/ten-init ./cmd/ten-init

bin/ten: init FORCE
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/ten
FORCE:

check-go:
	@command -v $(GO) >/dev/null || { echo "Go 1.26 or newer is needed: https://go.dev/dl"; exit 1; }

# What the tests and the demo use beside Go. As root on Debian it is installed;
# otherwise it is named, and tests that need it say so when they skip.
deps: check-go
	@.ci/deps

demo: deps all
	@testdata/demo/run bin/ten

test: deps init lint
	$(GO) test -timeout 20m ./...
	$(MAKE) race

test-short: init
	$(GO) test -short ./...

# What OpenTofu and the docker provider say of an export. Both are built from Go
# modules into the user's cache the first time, which takes some minutes.
test-tofu: init
	tofu=$$(.ci/tofu) && TEN_TOFU=$$tofu $(GO) test -count=1 -timeout 20m -run TestTofu -v ./export/terraform

# What the pulumi command and its YAML host say of an export, against a provider
# that is true to the SDK's types. Built like the others, in some ten minutes.
test-pulumi: init
	pulumi=$$(.ci/pulumi) && TEN_PULUMI=$$pulumi $(GO) test -count=1 -timeout 20m -run TestPulumi -v ./export/pulumi/program

# ten install where systemd is the first process: a guest under qemu, made of
# Debian packages. The first time takes some minutes, each later one about five.
test-systemd: init
	guest=$$(.ci/guest) && TEN_GUEST=$$guest $(GO) test -count=1 -timeout 30m -run TestSystemd -v ./host/install

# The race detector needs cgo, and only the parts that share memory need it.
# Short: it can follow only so many goroutines before it gives up itself.
race: init
	CGO_ENABLED=1 $(GO) test -race -short -timeout 15m ./reconcile ./reconcile/store ./host/logs ./host/api

lint: init
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	@# Pulumi's SDK, which only its own tests and program use, is not made for FreeBSD.
	GOOS=freebsd $(GO) vet $$($(GO) list ./... | grep -v export/pulumi)
	GOOS=freebsd $(GO) build -o /dev/null ./cmd/ten
	$(GO) run $(STATICCHECK) ./...

bench: deps init
	$(GO) test -run '^$$' -bench . -benchtime 1x ./...
	$(GO) test -run '^$$' -bench 'Token|Lookup' ./host/api ./host/router

# Ten minutes of requests, kills and pushes at random.
soak: init
	TEN_SOAK=10m TEN_SEED=$${TEN_SEED:-random} $(GO) test -run TestSoak -timeout 30m -v ./cmd/ten

# Tests of chance draw the same values in every run; here they draw new ones. What
# fails prints its seed, for TEN_SEED.
chance: init
	TEN_SEED=random $(GO) test -count=1 $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '/ten\/proptest/ { print $$1 }')

clean:
	rm -rf bin runtimes/launch/embedded/ten-init
