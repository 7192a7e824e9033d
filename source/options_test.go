package source

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestBadArguments(t *testing.T) {
	db := sql.OpenDB(nil)
	defer db.Close()
	var js jetstream.JetStream = struct{ jetstream.JetStream }{}
	file := func(path string, opts ...FileOption) error { _, err := File(path, opts...); return err }
	kv := func(js jetstream.JetStream, bucket string, opts ...KVOption) error {
		_, err := KV(js, bucket, opts...)
		return err
	}
	subjects := func(js jetstream.JetStream, stream, template string, opts ...SubjectsOption) error {
		_, err := Subjects(js, stream, template, opts...)
		return err
	}
	query := func(db *sql.DB, q string, opts ...SQLOption) error { _, err := SQL(db, q, opts...); return err }

	for _, err := range []error{
		file("a"), file("a.JSON"), file("a.yml", YAML(json.Unmarshal)), file("a.yaml", Lines()), file("a", JSON(), Every(24*time.Hour)),
		kv(js, "b"), kv(js, "b", Every(100*time.Millisecond)),
		subjects(js, "s", "a.{partition}"), subjects(js, "s", "{partition}.*.>"), subjects(js, "s", "a.>", WholeSubject(), WeighMessages()),
		query(db, "SELECT 1"), query(db, "SELECT ?", Args(1)),
		file("a", nil, Observe(nil)), kv(js, "b", nil), subjects(js, "s", "{partition}", nil), query(db, "SELECT 1", nil),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	for want, err := range map[string]error{
		`source: File(""): use the path of a file`: file(""),
		`source: File("a.yaml"): add the option source.YAML(yaml.Unmarshal), with the YAML library of your choice`: file("a.yaml"),
		`source: File("a"): add the option source.YAML`:                                                            file("a", YAML(nil)),
		`source: Every(99ms): use 100ms to 24h`:                                                                    file("a", Every(99*time.Millisecond)),
		`source: Every(25h0m0s): use 100ms to 24h`:                                                                 kv(js, "b", Every(25*time.Hour)),
		`source: Every(0s): `:                                            query(db, "SELECT 1", Every(0)),
		`source: Every(-1s): `:                                           subjects(js, "s", "{partition}", Every(-time.Second)),
		`source: KV(nil): give a jetstream.JetStream`:                    kv(nil, "b"),
		`source: KV(""): use a name without blanks and any of . * > / \`: kv(js, ""),
		`source: KV("a.b"): use a name`:                                  kv(js, "a.b"),
		`source: Subjects(nil): give a jetstream.JetStream`:              subjects(nil, "s", "{partition}"),
		`source: Subjects("s t"): use a name`:                            subjects(js, "s t", "{partition}"),
		`source: Subjects("a.>"): put {partition} where the partition stands, as in orders.{partition}.>, or`: subjects(js, "s", "a.>"),
		`source: Subjects("a.{partition}"): leave out {partition}, or the option WholeSubject`:                subjects(js, "s", "a.{partition}", WholeSubject()),
		`source: Subjects("a.x{partition}"): make {partition} a token of its own`:                             subjects(js, "s", "a.x{partition}"),
		`source: Subjects("{partition}.{partition}"): use {partition} once`:                                   subjects(js, "s", "{partition}.{partition}"),
		`source: Subjects("a..{partition}"): token 2 is empty or has a blank: mend it`:                        subjects(js, "s", "a..{partition}"),
		`source: Subjects(">.{partition}"): use > as the last token only`:                                     subjects(js, "s", ">.{partition}"),
		`source: Subjects("a*.{partition}"): make * and > tokens of their own`:                                subjects(js, "s", "a*.{partition}"),
		`source: Subjects(""): token 1 is empty`:                                                              subjects(js, "s", ""),
		`source: SQL(nil): give a database`:                                                                   query(nil, "SELECT 1"),
		`source: SQL(" "): give a query, such as SELECT id, weight FROM tools`:                                query(db, " "),
	} {
		var bad *OptionError
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
