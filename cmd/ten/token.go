package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/tokens"
	"github.com/tenement/ten/reconcile/store"
)

// tokenFile holds the admin's token for the commands of this machine.
const tokenFile = "api_token"

type tokenGenOptions struct{ tenant, description, expires string }

func newTokenGenCommand(e *env) *cobra.Command {
	var opts tokenGenOptions
	cmd := &cobra.Command{
		Use:   "token-gen",
		Short: "Make a token for the API",
		Long: `Make a token for the API of this machine's host, whether its daemon runs or not;
a running one knows it at once. Without --tenant it is the admin's, of which
there is one: it takes the place of the one before, and is saved beside the data
for the commands of this machine. A tenant's token reaches the instances whose id
is the tenant's, in every service, and nothing else.

A token is shown once. What is kept can't be turned back into it.` + exitText,
		Example: `  ten token-gen
  ten token-gen --tenant acme --description "acme's deploys" --expires 90d`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runTokenGen(cmd.Context(), e, opts) },
	}
	f := cmd.Flags()
	f.StringVar(&opts.tenant, "tenant", "", "id of the instances that the token is for")
	f.StringVar(&opts.description, "description", "", "what it is for, shown by ten tokens")
	f.StringVar(&opts.expires, "expires", "", "end by itself after so long, such as 12h or 90d")
	return cmd
}

func runTokenGen(ctx context.Context, e *env, opts tokenGenOptions) error {
	q := api.TokenRequest{Tenant: opts.tenant, Description: opts.description}
	if opts.expires != "" {
		d, err := parseDays(opts.expires)
		if err != nil {
			return &usageError{fmt.Errorf("--expires %q: want a duration such as 12h or 90d", opts.expires)}
		}
		q.ExpiresAt = time.Now().Add(d)
	}
	dataDir, err := e.findDataDir()
	if err != nil {
		return err
	}
	var made api.NewToken
	err = e.withTokens(ctx, dataDir,
		func(c *api.Client) (err error) { made, err = c.CreateToken(ctx, q); return err },
		func(k tokenKeeper, l auditLog) (err error) { made, err = makeToken(ctx, k, l, q); return err })
	if err != nil {
		return err
	}
	ends := ""
	if !made.ExpiresAt.IsZero() {
		ends = "It expires at " + made.ExpiresAt.UTC().Format(time.RFC3339) + ".\n"
	}
	if q.Tenant != "" {
		_, err = fmt.Fprintf(e.stdout, "Generated tenant token for '%s':\n\n  %s\n\n%sIt reaches the instances SERVICE:%s and is shown only now.\nUse it: TENEMENT_TOKEN=... ten ps --server URL\n",
			q.Tenant, made.Secret, ends, q.Tenant)
		return err
	}
	file := filepath.Join(dataDir, tokenFile)
	if err := renameio.WriteFile(file, []byte(made.Secret+"\n"), 0o600); err != nil {
		return &hintError{fmt.Errorf("save the token: %w", err), "the token is in force and was not shown: ten token-gen makes another"}
	}
	_, err = fmt.Fprintf(e.stdout, "Generated admin API token:\n\n  %s\n\n%sSaved to %s, where the commands of this machine find it.\nElsewhere: TENEMENT_TOKEN=... ten ps --server URL\n", made.Secret, ends, file)
	return err
}

// parseDays reads a duration that may count in days.
func parseDays(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 15)
		if err != nil || n == 0 {
			return 0, errors.New("no number of days")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("not a time to come")
	}
	return d, err
}

// withTokens has the daemon of a data directory do something about tokens, or
// where none runs does it at the store itself, with the directory taken so that
// none starts meanwhile.
func (e *env) withTokens(ctx context.Context, dataDir string, asked func(*api.Client) error, alone func(tokenKeeper, auditLog) error) error {
	for end := time.Now().Add(startPatience); ; {
		c := api.NewLocalClient(dataDir)
		err := asked(c)
		c.Close()
		if absent := (*api.NotRunningError)(nil); !errors.As(err, &absent) {
			return err
		}
		if err := os.MkdirAll(filepath.Join(dataDir, stateDir), 0o755); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		lock, err := api.Lock(dataDir)
		if running := (*api.RunningError)(nil); errors.As(err, &running) && time.Now().Before(end) {
			continue // one that starts or ends at this moment; Lock has waited
		}
		if err != nil {
			return err
		}
		defer lock.Close()
		st, err := store.Open(ctx, filepath.Join(dataDir, stateDir, "ten.db"))
		if err != nil {
			return err
		}
		return errors.Join(alone(tokenKeeper{st}, auditLog{st}), st.Close())
	}
}

// startPatience is how long a daemon may take between taking its directory and
// answering.
const startPatience = 10 * time.Second

func makeToken(ctx context.Context, k tokenKeeper, l auditLog, q api.TokenRequest) (api.NewToken, error) {
	secret, r, err := tokens.Make(tokens.Request{Tenant: q.Tenant, Description: q.Description, Expires: q.ExpiresAt})
	if err != nil {
		return api.NewToken{}, err
	}
	err = alone(ctx, l, api.Act{Action: "token-gen", Target: q.Tenant, Detail: q.Description}, func() error { return k.PutToken(ctx, r) })
	return api.NewToken{Token: api.ShowToken(r), Secret: secret}, err
}

// alone notes an act that no daemon knows of.
func alone(ctx context.Context, l auditLog, a api.Act, do func() error) error {
	a.At, a.Who, a.Source = time.Now(), localUser(), "command line"
	id, err := l.BeginAct(ctx, a)
	if err != nil {
		return err
	}
	err = do()
	result := "ok"
	if err != nil {
		result = err.Error()
	}
	return errors.Join(err, l.EndAct(ctx, id, result, time.Since(a.At)))
}

func newTokensCommand(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "List the tokens of the API, and revoke them",
		Long: `List the tokens of the API: whose they are, how they begin and when they end.
ten token-gen makes one, ten tokens revoke ends one.` + exitText,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runTokens(cmd.Context(), e, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(&cobra.Command{
		Use:   "revoke ID...",
		Short: "End tokens at once",
		Long:  `End tokens, named by their id or how they begin. No request gets in with them any more.` + exitText,
		Args:  args(cobra.MinimumNArgs(1)),
		RunE:  func(cmd *cobra.Command, given []string) error { return runTokensRevoke(cmd.Context(), e, given) },
	})
	return cmd
}

// askTokens is withTokens for commands that also work from afar.
func (e *env) askTokens(ctx context.Context, asked func(*api.Client) error, alone func(tokenKeeper, auditLog) error) error {
	if e.isRemote() {
		c, err := e.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return asked(c)
	}
	dataDir, err := e.findDataDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(dataDir); errors.Is(err, fs.ErrNotExist) {
		return &api.NotRunningError{Where: "unix://" + api.SocketPath(dataDir), Err: err} // nothing to look at, nothing to make
	}
	return e.withTokens(ctx, dataDir, asked, alone)
}

func runTokens(ctx context.Context, e *env, asJSON bool) error {
	list := []api.Token{}
	err := e.askTokens(ctx,
		func(c *api.Client) (err error) { list, err = c.Tokens(ctx); return err },
		func(k tokenKeeper, _ auditLog) error {
			records, err := k.Tokens(ctx)
			for _, r := range records {
				list = append(list, api.ShowToken(r))
			}
			return err
		})
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.stdout, map[string][]api.Token{"tokens": list})
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(e.stdout, "No tokens")
		return err
	}
	rows := [][]string{{"ID", "TENANT", "BEGINS", "MADE", "EXPIRES", "DESCRIPTION"}}
	for _, t := range list {
		rows = append(rows, tokenRow(t, time.Now()))
	}
	return table(e.stdout, []int{8, 12, 8, 8, 8, 0}, rows)
}

func tokenRow(t api.Token, now time.Time) []string {
	whose, ends := t.Tenant, "never"
	if whose == "" {
		whose = "(admin)"
	}
	switch {
	case t.ExpiresAt.IsZero():
	case t.ExpiresAt.After(now):
		ends = "in " + ago(t.ExpiresAt.Sub(now))
	default:
		ends = "expired"
	}
	return []string{t.ID, whose, t.Prefix, ago(now.Sub(t.CreatedAt)) + " ago", ends, t.Description}
}

func runTokensRevoke(ctx context.Context, e *env, names []string) error {
	for _, name := range names {
		err := e.askTokens(ctx,
			func(c *api.Client) error { return c.RevokeToken(ctx, name) },
			func(k tokenKeeper, l auditLog) error {
				return alone(ctx, l, api.Act{Action: "token-revoke", Detail: name}, func() error {
					_, ok, err := tokens.Revoke(ctx, k, name)
					if err == nil && !ok {
						return &hintError{fmt.Errorf("no token %q", name), "ten tokens lists them"}
					}
					return err
				})
			})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(e.stdout, "Revoked %s\n", name); err != nil {
			return err
		}
	}
	return nil
}
