package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/schema"
)

type schemaOptions struct{ service, cue bool }

func newSchemaCommand(e *env) *cobra.Command {
	var opts schemaOptions
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of tenement.toml, for editors",
		Long: `Print what a config may hold as JSON Schema, from which editors complete and check
tenement.toml while you type. Keep it in a file and name that in the first line:

  ten schema > tenement.schema.json
  #:schema ./tenement.schema.json

--service prints the schema of a file in services/ that is one service; --cue
prints the CUE definitions, which are the truth that both come from.

Exit status
  0  done
  2  wrong usage`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return runSchema(e, opts) },
	}
	cmd.Flags().BoolVar(&opts.service, "service", false, "of a file services/NAME.toml")
	cmd.Flags().BoolVar(&opts.cue, "cue", false, "as CUE")
	cmd.MarkFlagsMutuallyExclusive("service", "cue")
	return cmd
}

func runSchema(e *env, opts schemaOptions) error {
	text := schema.JSONSchema
	switch {
	case opts.cue:
		text = schema.CUE
	case opts.service:
		var err error
		if text, err = serviceSchema(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(e.stdout, text)
	return err
}

// serviceSchema is the same definitions with one service at the top level.
func serviceSchema() (string, error) {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(schema.JSONSchema)))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return "", fmt.Errorf("read the embedded schema: %w", err)
	}
	out, err := json.MarshalIndent(map[string]any{
		"$schema": doc["$schema"],
		"$defs":   doc["$defs"],
		"title":   "services/NAME.toml",
		"$ref":    "#/$defs/Service",
	}, "", "  ")
	return string(out) + "\n", err
}
