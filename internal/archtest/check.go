package archtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A place is where a package stands.
type place struct {
	pattern string // as written in Floors
	floor   int    // apart for the floor "-"
	tests   bool
	port    bool
	marked  bool // (pure)
}

// apart is the floor "-".
const apart = -1

func (p place) name() string {
	if p.floor == apart {
		return "stands apart"
	}
	return "floor " + strconv.Itoa(p.floor)
}

func (p place) pure() bool {
	return p.marked || p.floor != apart && p.floor <= topPure && !p.tests
}

// family reports whether p stands for a package and those below it.
func (p place) family() bool { return strings.HasSuffix(p.pattern, "/...") }

// parseFloors reads a table like Floors.
func parseFloors(table string) ([]place, error) {
	var places []place
	seen := map[string]bool{}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		floor := apart
		if fields[0] != "-" {
			n, err := strconv.Atoi(fields[0])
			if err != nil || n < 0 {
				return nil, fmt.Errorf("floor %q: neither a number nor -", fields[0])
			}
			floor = n
		}
		for i, field := range fields[1:] {
			if strings.HasPrefix(field, "(") {
				if i == 0 {
					return nil, fmt.Errorf("floor %s: the mark %s follows no package", fields[0], field)
				}
				switch last := &places[len(places)-1]; field {
				case "(tests)":
					last.tests = true
				case "(pure)":
					last.marked = true
				case "(port)":
					last.port = true
				default:
					return nil, fmt.Errorf("%s: unknown mark %s", last.pattern, field)
				}
				continue
			}
			if seen[field] {
				return nil, fmt.Errorf("%s stands in the table twice", field)
			}
			seen[field] = true
			places = append(places, place{pattern: field, floor: floor})
		}
	}
	return places, nil
}

// A listedPackage is what we read of go list -json.
type listedPackage struct {
	ImportPath     string   `json:"ImportPath"`
	Dir            string   `json:"Dir"`
	GoFiles        []string `json:"GoFiles"`
	CgoFiles       []string `json:"CgoFiles"`
	IgnoredGoFiles []string `json:"IgnoredGoFiles"` // by build constraints: another system, a tag
	TestGoFiles    []string `json:"TestGoFiles"`
	XTestGoFiles   []string `json:"XTestGoFiles"`
}

// A checker holds what Check finds.
type checker struct {
	root   string
	module string
	places []place
	found  []string
}

// Check reads the work space at root, whose core module has the given path, and
// returns one sentence for every breach of the table of floors, sorted by place.
func Check(ctx context.Context, root, module, table string) ([]string, error) {
	places, err := parseFloors(table)
	if err != nil {
		return nil, fmt.Errorf("read the table of floors: %w", err)
	}
	root, err = filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("find the work space: %w", err)
	}
	c := &checker{root: root, module: module, places: places}
	if err := c.checkModules(ctx); err != nil {
		return nil, err
	}
	packages, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range packages {
		c.checkPackage(p)
	}
	slices.SortStableFunc(c.found, cmp.Compare)
	return c.found, nil
}

func (c *checker) reportf(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// goList runs go list in the work space.
func (c *checker) goList(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Dir = c.root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

func (c *checker) list(ctx context.Context) ([]listedPackage, error) {
	// -e: a package that does not compile is the compiler's to report.
	out, err := c.goList(ctx, "-e", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "work")
	if err != nil {
		return nil, err
	}
	var packages []listedPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("read the answer of go list: %w", err)
		}
		packages = append(packages, p)
	}
}

// checkModules looks for modules that the work space does not use: go list does
// not see their packages, and neither do the tests.
func (c *checker) checkModules(ctx context.Context) error {
	out, err := c.goList(ctx, "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	used := map[string]bool{filepath.Join(c.root, "tools"): true}
	for dir := range strings.Lines(string(out)) {
		used[strings.TrimSpace(dir)] = true
	}
	if len(used) == 2 { // only the core module: not a checkout, and others may be anywhere
		return nil
	}
	return filepath.WalkDir(c.root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != c.root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.Name() == "go.mod" && !used[filepath.Dir(path)]:
			dir := filepath.Dir(path)
			c.reportf("%s: the module is not in go.work, so it is neither built nor tested. Remedy: go work use ./%s", c.rel(path), c.rel(dir))
		}
		return nil
	})
}

func (c *checker) rel(path string) string {
	if rel, err := filepath.Rel(c.root, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}

// short names a package as the table does, and reports whether it is ours.
func (c *checker) short(importPath string) (name string, ours bool) {
	if importPath == c.module {
		return ".", true
	}
	return strings.CutPrefix(importPath, c.module+"/")
}

// find is the place of one of our packages.
func (c *checker) find(name string) (place, bool) {
	best, found := place{}, false
	for _, p := range c.places {
		base := strings.TrimSuffix(p.pattern, "/...")
		if name == base || p.family() && strings.HasPrefix(name, base+"/") {
			if !found || len(p.pattern) > len(best.pattern) {
				best, found = p, true
			}
		}
	}
	return best, found
}

func (c *checker) checkPackage(p listedPackage) {
	name, _ := c.short(p.ImportPath)
	at, known := c.find(name)
	if !known {
		c.reportf("%s: package %s has no floor. Remedy: give it one in Floors of internal/archtest, above all that it imports and below all that import it",
			c.rel(p.Dir), name)
		return
	}
	for _, file := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
		c.checkFile(filepath.Join(p.Dir, file), name, at, strings.HasSuffix(file, "_test.go"))
	}
	for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		c.checkFile(filepath.Join(p.Dir, file), name, at, true)
	}
}

func (c *checker) checkFile(path, name string, at place, test bool) {
	src, err := os.ReadFile(path)
	if err != nil {
		c.reportf("%s: %v", c.rel(path), err)
		return
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, 0)
	if err != nil {
		c.reportf("%s: cannot be read: %v", c.rel(path), err)
		return
	}
	f := fileCheck{checker: c, fset: fset, file: file, name: name, at: at, test: test}
	for _, spec := range file.Imports {
		f.checkImport(spec)
	}
	if at.pure() && !test {
		f.checkPurity()
	}
}

// A fileCheck looks at one file of the package called name.
type fileCheck struct {
	*checker
	fset *token.FileSet
	file *ast.File
	name string
	at   place
	test bool
}

func (f *fileCheck) where(n ast.Node) string {
	pos := f.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", f.rel(pos.Filename), pos.Line)
}

func (f *fileCheck) checkImport(spec *ast.ImportSpec) {
	path, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		f.reportf("%s: import path %s: %v", f.where(spec), spec.Path.Value, err)
		return
	}
	if name, ours := f.short(path); ours {
		f.checkOurs(spec, name)
		return
	}
	if f.test {
		return
	}
	first, _, _ := strings.Cut(path, "/")
	thirdParty := strings.Contains(first, ".")
	if strings.HasPrefix(path, "github.com/nats-io/") && f.at.floor <= topWithoutNATS {
		f.reportf("%s: %s (%s) imports %s: only the floors above %d know NATS. Remedy: go through internal/kv",
			f.where(spec), f.name, f.at.name(), path, topWithoutNATS)
		return
	}
	if !f.at.pure() || f.at.port && path == "context" {
		return
	}
	switch {
	case thirdParty && !pureThirdParty[f.name][path]:
		f.reportf("%s: %s (%s, pure) imports %s, which is not ours. Remedy: do without, or leave it to the shell",
			f.where(spec), f.name, f.at.name(), path)
	case !thirdParty && !pureImports[path]:
		f.reportf("%s: %s (%s, pure) imports %s. Remedy: %s", f.where(spec), f.name, f.at.name(), path, remedy(path))
	}
	if spec.Name != nil && spec.Name.Name == "." {
		f.reportf("%s: %s (%s, pure) imports %s with a dot, which hides what it uses. Remedy: import it by its name",
			f.where(spec), f.name, f.at.name(), path)
	}
}

// checkOurs checks the import of one of our own packages.
func (f *fileCheck) checkOurs(spec *ast.ImportSpec, name string) {
	to, known := f.find(name)
	if !known {
		f.reportf("%s: %s (%s) imports %s, which has no floor. Remedy: give it one in Floors of internal/archtest",
			f.where(spec), f.name, f.at.name(), name)
		return
	}
	if to.pattern == f.at.pattern { // its own package, seen from its test, or one of its family
		return
	}
	say := func(what, remedy string) {
		f.reportf("%s: %s (%s) imports %s (%s): %s. Remedy: %s", f.where(spec), f.name, f.at.name(), name, to.name(), what, remedy)
	}
	switch {
	case f.at.floor == apart:
		say("it stands apart and imports nothing of ours", "copy the few lines it needs, or give it a floor")
	case to.floor == apart:
		say("it stands apart and nothing imports it", "move what is needed to a package with a floor")
	case f.test:
	case to.tests && !f.at.tests && f.at.floor < f.top():
		say("it exists for tests", "import it from a _test.go file")
	case to.floor == f.at.floor:
		say("they stand on the same floor", "move what both need to a floor below, or pass it in from above")
	case to.floor > f.at.floor:
		say("it stands above", "pass it in as an argument or an interface, or move what is needed below")
	}
}

// top is the highest floor.
func (c *checker) top() int {
	return slices.MaxFunc(c.places, func(a, b place) int { return cmp.Compare(a.floor, b.floor) }).floor
}

// checkPurity looks for goroutines, channels and clocks.
func (f *fileCheck) checkPurity() {
	names := map[string]string{} // the file's name for a package → its path
	for _, spec := range f.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil || impureCalls[path] == nil {
			continue
		}
		name := path
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	say := func(n ast.Node, what, remedy string) {
		f.reportf("%s: %s (%s, pure) %s. Remedy: %s", f.where(n), f.name, f.at.name(), what, remedy)
	}
	const ownRemedy = "return the work to be done; the shell has the goroutines"
	ast.Inspect(f.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			say(n, "starts a goroutine", ownRemedy)
		case *ast.SelectStmt:
			say(n, "waits in a select", ownRemedy)
		case *ast.SendStmt:
			say(n, "sends on a channel", ownRemedy)
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				say(n, "receives from a channel", ownRemedy)
			}
		case *ast.ChanType:
			if !f.at.port {
				say(n, "has a channel", ownRemedy)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Obj == nil && (id.Name == "print" || id.Name == "println") {
				say(n, "calls the builtin "+id.Name, remedy("fmt."))
			}
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			if !ok || id.Obj != nil { // Obj: something declared in this file that hides the package
				break
			}
			if path := names[id.Name]; impureCalls[path][n.Sel.Name] {
				call := path + "." + n.Sel.Name
				say(n, "uses "+call, remedy(call))
			}
		}
		return true
	})
}

// remedy is what to do instead of an import or a call.
func remedy(what string) string {
	for _, r := range remedies {
		if strings.HasPrefix(what, r.prefix) {
			return r.remedy
		}
	}
	panic("archtest: the last of remedies fits everything")
}

func words(s string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(s) {
		set[word] = true
	}
	return set
}
