package schema

import (
	"cmp"
	"encoding/json"
	"io"
	"net/url"
	"slices"
)

// The parts of SARIF 2.1.0 that a list of problems needs.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID           string          `json:"ruleId"`
		RuleIndex        int             `json:"ruleIndex"`
		Level            string          `json:"level"`
		Message          sarifText       `json:"message"`
		Locations        []sarifLocation `json:"locations"`
		RelatedLocations []sarifLocation `json:"relatedLocations,omitempty"`
	}
	sarifLocation struct {
		ID       *int          `json:"id,omitempty"`
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
)

// WriteSARIF prints problems as SARIF 2.1.0, the form that code scanners
// exchange. version is ten's.
func WriteSARIF(w io.Writer, problems []Problem, version string) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "ten", Version: version, Rules: []sarifRule{}}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	for _, p := range problems {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{p.Code})
	}
	rules := run.Tool.Driver.Rules
	byID := func(a, b sarifRule) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(rules, byID)
	rules = slices.Compact(rules)
	run.Tool.Driver.Rules = rules
	for _, p := range problems {
		result := sarifResult{RuleID: p.Code, Level: string(p.Severity), Message: sarifText{sarifMessage(p)}}
		result.RuleIndex, _ = slices.BinarySearchFunc(rules, sarifRule{p.Code}, byID)
		result.Locations = []sarifLocation{{Physical: sarifPlace(p)}}
		for i, r := range p.Related {
			result.RelatedLocations = append(result.RelatedLocations, sarifLocation{ID: &i, Physical: sarifPlace(Problem{Position: r})})
		}
		run.Results = append(run.Results, result)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

func sarifMessage(p Problem) string {
	text := p.Message
	if p.Path != "" {
		text = p.Path + ": " + text
	}
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return text
}

func sarifPlace(p Problem) sarifPhysical {
	place := sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: p.File}).String()}}
	if p.Line == 0 {
		return place
	}
	place.Region = &sarifRegion{StartLine: p.Line}
	if col, end := runeColumns(p); col > 0 {
		place.Region.StartColumn, place.Region.EndColumn = col, end
	}
	return place
}
