package run

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/source"
)

// Partitions are what --partitions says: so many, named 0, 1 and so on, or those of a
// file, which is watched; see [source.File] for how it is written. Nothing: nil, for a
// worker that does not need to know. A file that cannot be read now is an error.
func Partitions(ctx context.Context, text string) (parti.PartitionSource, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // a nil source is a word of its own
	}
	if n, err := strconv.Atoi(text); err == nil {
		s, err := source.Hashed(n)
		if err != nil {
			return nil, fmt.Errorf("it is 1 to %d, or a file", source.MaxHashed)
		}
		return s, nil
	}
	var opts []source.FileOption
	if ext := strings.ToLower(filepath.Ext(text)); ext == ".yaml" || ext == ".yml" {
		opts = append(opts, source.YAML(yaml.Unmarshal))
	}
	s, err := source.File(text, opts...)
	if err != nil {
		return nil, err
	}
	if _, err := s.ListPartitions(ctx); err != nil {
		return nil, err
	}
	return s, nil
}
