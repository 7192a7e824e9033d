package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A context of the nats command is a file of settings under a name:
//
//	$XDG_CONFIG_HOME/nats/context/<name>.json   the settings
//	$XDG_CONFIG_HOME/nats/context.txt           the name of the selected one
//
// Without XDG_CONFIG_HOME it is .config in the home directory.
type natsContexts struct{ dir string }

func contextsOf(env func(string) string) natsContexts {
	root := env("XDG_CONFIG_HOME")
	if root == "" {
		home := env("HOME")
		if home == "" {
			home = env("USERPROFILE")
		}
		if home == "" {
			return natsContexts{}
		}
		root = filepath.Join(home, ".config")
	}
	return natsContexts{filepath.Join(root, "nats")}
}

// names are the contexts there are.
func (n natsContexts) names() []string {
	if n.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(n.dir, "context"))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !e.IsDir() {
			names = append(names, name)
		}
	}
	return names
}

// selected is the name of the one that the nats command uses, or empty.
func (n natsContexts) selected() string {
	if n.dir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(n.dir, "context.txt"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// load reads one.
func (n natsContexts) load(ctx context.Context, env func(string) string, name string) (access, error) {
	if name == "" || strings.Contains(name, "..") || strings.ContainsAny(name, `/\`) {
		return nil, usage(fmt.Errorf("context %q: neither / nor .. is in a name", name), "nats context ls")
	}
	path := filepath.Join(n.dir, "context", name+".json")
	text, err := os.ReadFile(path)
	if n.dir == "" || errors.Is(err, os.ErrNotExist) {
		return nil, &Error{
			Code: Usage, What: fmt.Sprintf("there is no NATS context %q", name),
			Why: errors.New(meant(name, n.names())), Try: "nats context ls",
		}
	}
	if err == nil {
		var a access
		if a, err = readContext(ctx, env, name, text); err == nil {
			return a, nil
		}
	}
	return nil, &Error{Code: Usage, What: fmt.Sprintf("the NATS context %q cannot be used", name), Why: err, Try: "nats context show " + name}
}

// readContext takes the settings out of a context's file.
func readContext(ctx context.Context, env func(string) string, name string, text []byte) (access, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	a := access{}
	for field, value := range fields {
		text, _ := value.(string)
		switch field {
		case "socks_proxy", "windows_cert_store", "windows_cert_match", "windows_cert_match_by":
			if text != "" {
				return nil, fmt.Errorf("%s is set, and parti does not support it", field)
			}
		case "creds", "nkey", "cert", "key", "ca":
			path, err := contextFile(env, field, text)
			if err != nil {
				return nil, err
			}
			a.set(field, path, field+" of the context "+name)
		case "tls_first":
			if yes, _ := value.(bool); yes {
				a.set(field, "true", field+" of the context "+name)
			}
		case "password", "token", "user_jwt", "user_seed":
			if variable, ok := strings.CutPrefix(text, "env://"); ok {
				text = env(variable)
			}
			a.set(field, text, field+" of the context "+name)
		case "url", "user", "jetstream_domain", "jetstream_api_prefix", "inbox_prefix":
			a.set(field, text, field+" of the context "+name)
		}
	}
	nsc, _ := fields["nsc"].(string)
	if text, _ := fields["creds"].(string); strings.HasPrefix(text, nscScheme) {
		nsc = text
	}
	if nsc == "" {
		return a, nil
	}
	return a, a.nsc(ctx, nsc, name)
}

const nscScheme = "nsc://"

// contextFile is the path of a file that a context names.
func contextFile(env func(string) string, field, text string) (string, error) {
	scheme, path, ok := strings.Cut(text, "://")
	switch {
	case !ok:
		path = text
	case scheme == "nsc" && field == "creds":
		return "", nil
	case scheme != "file":
		return "", fmt.Errorf("%s is %s://…, and parti reads files only", field, scheme)
	}
	path = os.Expand(path, env)
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(env("HOME"), rest)
	}
	return path, nil
}

// nsc asks the nsc command for the credentials and, where the context names none,
// for the servers.
func (a access) nsc(ctx context.Context, ref, name string) error {
	ref = nscScheme + strings.TrimPrefix(ref, nscScheme)
	cmd := exec.CommandContext(ctx, "nsc", "generate", "profile", ref)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("nsc generate profile %s: %w: %s", ref, err, strings.TrimSpace(said.String()))
	}
	var profile struct {
		Creds    string `json:"user_creds"`
		Operator struct {
			Service []string `json:"service"`
		} `json:"operator"`
	}
	if err := json.Unmarshal(out, &profile); err != nil {
		return fmt.Errorf("nsc generate profile %s: %w", ref, err)
	}
	if a["creds"].value == "" {
		a.set("creds", profile.Creds, "nsc of the context "+name)
	}
	if a["url"].value == "" {
		a.set("url", strings.Join(profile.Operator.Service, ","), "nsc of the context "+name)
	}
	return nil
}
