package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const maxConfigFile = 1 << 20

// fillFlags sets what was not given as a flag from the environment (HEXRD_*),
// and what is not there either from the YAML file of --config. A key of the file
// that is no flag is an error that names it.
func fillFlags(flags *pflag.FlagSet, environ []string) error {
	env := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, "HEXRD_") {
			env[name] = value
		}
	}
	if err := fillFromEnvironment(flags, env); err != nil {
		return err
	}
	file := flags.Lookup("config").Value.String()
	if file == "" {
		return nil
	}
	values, err := readConfigFile(file)
	if err != nil {
		return err
	}
	for _, key := range sortedKeys(values) {
		name := strings.ReplaceAll(key, "_", "-")
		flag := flags.Lookup(name)
		if flag == nil || name == "config" || name == "help" || strings.Contains(key, "-") {
			return fmt.Errorf("config %s: unknown key %q", file, key)
		}
		if flag.Changed {
			continue
		}
		if err := flags.Set(name, values[key]); err != nil {
			return fmt.Errorf("config %s: key %q: %w", file, key, err)
		}
	}
	return nil
}

func fillFromEnvironment(flags *pflag.FlagSet, env map[string]string) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "HEXRD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := env[name]
		if !ok || f.Changed {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	})
	return errors.Join(errs...)
}

func readConfigFile(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	if len(data) > maxConfigFile {
		return nil, fmt.Errorf("config %s is larger than %d bytes", file, maxConfigFile)
	}
	values, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", file, err)
	}
	return values, nil
}

// parseConfig reads one YAML document of single values.
func parseConfig(data []byte) (map[string]string, error) {
	var nodes map[string]yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	values := map[string]string{}
	for key, node := range nodes {
		if node.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("key %q is not a single value", key)
		}
		values[key] = node.Value
	}
	return values, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
