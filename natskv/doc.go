// Package natskv keeps a group's state in NATS JetStream.
//
//	nc, err := nats.Connect(url, natskv.ConnectOptions()...)
//	js, err := jetstream.New(nc)
//	store, err := natskv.Open(ctx, js, "orders") // makes the bucket if it is not there
//	defer store.Close()
//
// One group is one bucket, parti-<group>, and so one stream: KV_parti-<group>. It
// needs JetStream API level 2 (NATS 2.12). The bucket is made as a stream, since
// the KV API cannot make atomic batches possible, and one made with the KV API is
// refused with an error that says what is wrong with it.
//
// # Subjects
//
//	$KV.parti-<group>.<key>            the keys
//	$PARTI.<group>.kv.<key>            every change of a key, republished by the server
//	$PARTI.<group>.probe.<name>        who answers to a name: nobody else may subscribe there,
//	                                   since a lost worker is known by nobody's listening
//
// Package permissions lists what each role needs. What a process needs to publish: $JS.API.STREAM.INFO.KV_parti-<group>,
// $JS.API.STREAM.MSG.GET.KV_parti-<group>, its keys, $KV.parti-<group>.fence, and its probes; to subscribe:
// its inbox, the changes that it follows, the names that it answers to. Who may make
// the bucket, and make it anew, also needs $JS.API.INFO and $JS.API.STREAM.CREATE,
// .PURGE and .LEADER.STEPDOWN of that stream, and .UPDATE for [WithRepair]. No consumer is
// ever created.
package natskv
