#include "tests/component/scripted/scripted.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/own.h"
#include "bus/lease_keys.h"
#include "worker/engine.h"

#define PULSE_MS   20 /* between two looks at what was told */
#define END_MS	   60000 /* for the engine to end */
#define START_MS   60000 /* for the engine to start and do something */
#define LET_GO_MS  20000 /* for what it holds to be let go, when everything was told */
#define WHY_MAX	   300
#define DISK_NAME  "scripted-disk"
#define KEY_BYTES  64 /* as hex text */
#define TTL_MS	   4000
#define TIMEOUT_MS 2000
#define OUTPUT_BYTES 100000

struct scripted_disk {
	TAILQ_ENTRY(scripted_disk) link;
	char id[IDENT_ID_MAX + 1];
	bool is_erase_asked;
};

struct scripted_wait {
	LIST_ENTRY(scripted_wait) link;
	struct scripted *scripted;
	struct event *due;
	struct fake_vm *vm;
	const char *words;
};

static void do_words(struct scripted *scripted, struct fake_vm *vm, const char *words);

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct scripted_wait *wait = arg;

	(void)fd;
	(void)what;
	LIST_REMOVE(wait, link);
	do_words(wait->scripted, wait->vm, wait->words);
	event_free(wait->due);
	free(wait);
}

static void put_off(struct scripted *scripted, struct fake_vm *vm, const char *words, unsigned long ms)
{
	const struct timeval delay = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
	struct scripted_wait *wait = calloc(1, sizeof(*wait));

	assert(wait);
	*wait = (struct scripted_wait){ .scripted = scripted, .vm = vm, .words = words };
	wait->due = evtimer_new(scripted->base, on_due, wait);
	assert(wait->due && event_add(wait->due, &delay) == 0);
	LIST_INSERT_HEAD(&scripted->waits, wait, link);
}

static void do_word(struct scripted *scripted, struct fake_vm *vm, const struct script_word *word)
{
	bool is_known;

	if (word->party == 'd' || word->party == 'v')
		is_known = fake_lane_say(&scripted->lanes[word->party == 'v' ? ENGINE_LANE_VMM : ENGINE_LANE_DISK], word);
	else
		is_known = !vm || fake_vm_say(vm, word); /* a lane's look at the host has no microVM */
	if (!is_known)
		(void)fprintf(stderr, "there is no word %c:%s\n", word->party, word->verb);
	assert(is_known);
}

static void do_words(struct scripted *scripted, struct fake_vm *vm, const char *words)
{
	struct script_word word;

	while (script_next(&words, &word)) {
		if (word.party == 't') {
			put_off(scripted, vm, words, word.number);
			return;
		}
		for (; word.times; word.times--)
			do_word(scripted, vm, &word);
	}
}

static void on_point(void *ctx, struct fake_vm *vm, const char *point)
{
	do_words(ctx, vm, script_reach(&vm->play, point));
}

static struct fake_vm *find_vm(const struct scripted *scripted, const char *id)
{
	struct fake_vm *vm;

	TAILQ_FOREACH_REVERSE(vm, &scripted->vms, fake_vm_list, link) {
		if (strcmp(vm->id, id) == 0)
			return vm;
	}
	return NULL;
}

/* Before its request is answered, so that there is a script to answer it from. */
static struct fake_vm *make_vm(struct scripted *scripted, const struct lane_request *request)
{
	struct fake_vm *vm = fake_vm_new(scripted->base, on_point, scripted);
	size_t number;

	TAILQ_INSERT_TAIL(&scripted->vms, vm, link);
	if (request->op == LANE_OP_VM_PROBE)
		return vm;
	memcpy(vm->id, request->of.vm_start.vm_id, sizeof(vm->id));
	vm->is_clone = request->of.vm_start.launcher == LAUNCHER_QEMU_CLONE;
	if (sscanf(request->of.vm_start.image, "script-%zu", &number) == 1) {
		assert(number < scripted->n_scripts);
		vm->play.script = scripted->scripts[number];
		vm->play.nth = request->of.vm_start.launcher == LAUNCHER_QEMU_TEMPLATE ? SCRIPTED_TEMPLATE :
			       vm->is_clone					? SCRIPTED_CLONE :
										  ++scripted->n_vms[number];
	}
	return vm;
}

static struct scripted_disk *find_disk(const struct scripted *scripted, const char *id)
{
	struct scripted_disk *disk;

	TAILQ_FOREACH(disk, &scripted->disks, link) {
		if (strcmp(disk->id, id) == 0)
			return disk;
	}
	return NULL;
}

static void note_disk(struct scripted *scripted, const struct lane_request *request)
{
	const char *id = lane_request_vm_id(request);
	struct scripted_disk *disk = find_disk(scripted, id);

	if (request->op == LANE_OP_DISK_FORMAT && !disk) {
		disk = calloc(1, sizeof(*disk));
		assert(disk);
		(void)snprintf(disk->id, sizeof(disk->id), "%s", id);
		TAILQ_INSERT_TAIL(&scripted->disks, disk, link);
	}
	if (disk && request->op == LANE_OP_DISK_FORMAT)
		disk->is_erase_asked = false;
	if (disk && request->op == LANE_OP_DISK_ERASE)
		disk->is_erase_asked = true;
}

static void on_request(void *ctx, struct fake_lane *lane)
{
	struct scripted *scripted = ctx;
	const struct lane_request *request = &lane->request;
	bool is_start = request->op == LANE_OP_VM_START || request->op == LANE_OP_VM_PROBE;
	struct fake_vm *vm = is_start ? make_vm(scripted, request) : find_vm(scripted, lane_request_vm_id(request));
	struct script_play well_behaved = { .script = "" }; /* the look at the disks has no microVM */
	char point[SCRIPT_NAME_MAX];

	note_disk(scripted, request);
	(void)snprintf(point, sizeof(point), "%c:%s", lane == &scripted->lanes[ENGINE_LANE_VMM] ? 'v' : 'd',
		       lane_op_name(request->op));
	do_words(scripted, vm, script_reach(vm ? &vm->play : &well_behaved, point));
}

static void make_disk(struct lane_reply *reply)
{
	struct err err;

	assert(secret_new(KEY_BYTES, &reply->secret, &err) == 0);
	memset(secret_data(reply->secret), 'a', KEY_BYTES);
	reply->of.disk_format.drive = DRIVE_FILE;
	reply->fds[reply->n_fds++] = memfd_create(DISK_NAME, MFD_CLOEXEC);
}

/* Of a template, and room for its devices' state. */
static void make_memory(struct lane_reply *reply)
{
	for (int i = 0; i < 2; i++)
		reply->fds[reply->n_fds++] = memfd_create("scripted-template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

static void on_do(void *ctx, struct fake_lane *lane, struct lane_reply *reply)
{
	struct scripted *scripted = ctx;
	enum lane_op op = lane->request.op;
	struct fake_vm *vm = find_vm(scripted, lane_request_vm_id(&lane->request));

	if (op == LANE_OP_DISK_FORMAT)
		make_disk(reply);
	if (op == LANE_OP_DISK_DESTROY_KEY)
		reply->of.destroy_key.is_key_destroyed = true;
	if (op != LANE_OP_VM_START && op != LANE_OP_VM_PROBE)
		return;
	if (op == LANE_OP_VM_START)
		reply->of.vm_start.build_id = 1;
	reply->n_fds = ARRAY_SIZE(vm->engine_fds);
	if (vm->is_handed_over) /* it is said again: there is nothing to hand over */
		for (size_t i = 0; i < reply->n_fds; i++)
			reply->fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	else
		fake_vm_start(vm, reply->fds);
	if (op == LANE_OP_VM_START && lane->request.of.vm_start.launcher == LAUNCHER_QEMU_TEMPLATE)
		make_memory(reply);
}

static int new_lane(struct scripted *scripted, unsigned which)
{
	struct fake_lane *lane = &scripted->lanes[which];
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	fake_lane_close(lane);
	fake_lane_attach(lane, pair[0]);
	return pair[1];
}

static void on_supervisor(evutil_socket_t fd, short what, void *arg)
{
	struct scripted *scripted = arg;
	uint8_t which;
	ssize_t n = recv(fd, &which, 1, MSG_DONTWAIT);

	(void)what;
	if (n == 0)
		event_del(scripted->supervisor);
	if (n == 1 && which < SCRIPTED_LANES) {
		cleanup_fd int lane_fd = new_lane(scripted, which);

		(void)fd_send(fd, &which, 1, &lane_fd, 1, 0); /* an engine that has ended is seen by that */
	}
}

static void on_pulse(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	bus_stand_read(&((struct scripted *)arg)->bus);
}

static void start_engine(struct scripted *scripted, unsigned slots, bool has_clones)
{
	cleanup_fd int disk_lane_fd = new_lane(scripted, ENGINE_LANE_DISK);
	cleanup_fd int vmm_lane_fd = new_lane(scripted, ENGINE_LANE_VMM);
	struct engine_process_config config = { .brokers = bus_stand_brokers(&scripted->bus),
						.prefix = BUS_STAND_PREFIX,
						.redis_port = scripted->bus.redis.port,
						.slots = slots,
						.has_clones = has_clones,
						.disk_lane_fd = disk_lane_fd,
						.vmm_lane_fd = vmm_lane_fd };
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	config.supervisor_fd = pair[1];
	engine_process_start(&config, &scripted->engine);
	(void)close(pair[1]);
	scripted->supervisor_fd = pair[0];
	scripted->supervisor = event_new(scripted->base, pair[0], EV_READ | EV_PERSIST, on_supervisor, scripted);
	assert(scripted->supervisor && event_add(scripted->supervisor, NULL) == 0);
}

static void prepare(struct scripted *scripted, const char *const *scripts, size_t n_scripts)
{
	const struct timeval pulse = { .tv_usec = PULSE_MS * 1000 };

	*scripted = (struct scripted){ .scripts = scripts, .n_scripts = n_scripts };
	(void)signal(SIGPIPE, SIG_IGN); /* libevent writes to what the engine has closed */
	TAILQ_INIT(&scripted->vms);
	TAILQ_INIT(&scripted->disks);
	LIST_INIT(&scripted->waits);
	bus_stand_open(&scripted->bus);
	scripted->n_vms = calloc(n_scripts + 1, sizeof(*scripted->n_vms));
	scripted->base = event_base_new();
	assert(scripted->n_vms && scripted->base);
	scripted->pulse = event_new(scripted->base, -1, EV_PERSIST, on_pulse, scripted);
	assert(scripted->pulse && event_add(scripted->pulse, &pulse) == 0);
	for (unsigned i = 0; i < SCRIPTED_LANES; i++)
		scripted->lanes[i] = (struct fake_lane){
			.base = scripted->base, .fd = -1, .on_request = on_request, .on_do = on_do, .ctx = scripted
		};
}

void scripted_task(const char *id, const char *image, struct task *ret)
{
	static struct task_text argv = { "true" }, collect = { "a" };
	static uint8_t input[] = "some input";
	static struct task_file file = { .path = "b", .data = input, .len = sizeof(input), .mode = TASK_DEFAULT_FILE_MODE };

	*ret = task_defaults;
	(void)snprintf(ret->id, sizeof(ret->id), "%s", id);
	(void)snprintf(ret->image, sizeof(ret->image), "%s", image);
	ret->argv = &argv;
	ret->collect = &collect;
	ret->files = &file;
	ret->n_argv = ret->n_collect = ret->n_files = 1;
	ret->stdin_data = input;
	ret->stdin_len = sizeof(input);
	ret->ttl_ms = strncmp(image, "script-", 7) == 0 ? TTL_MS : TASK_DEFAULT_TTL_MS;
	ret->timeout_ms = TIMEOUT_MS;
	ret->output_limit_bytes = OUTPUT_BYTES;
}

/* Turns of the loop until there is something to know about. */
static bool turn_for(struct scripted *scripted, bool (*is_done)(struct scripted *scripted, const void *what), const void *what,
		     unsigned patience_ms)
{
	uint64_t deadline = clock_mono_ms() + patience_ms;

	while (!is_done(scripted, what) && clock_mono_ms() < deadline)
		assert(event_base_loop(scripted->base, EVLOOP_ONCE) == 0); /* the pulse is always due */
	return is_done(scripted, what);
}

/* Or will never be: the engine has ended. */
static bool is_told(struct scripted *scripted, const void *id)
{
	return bus_stand_count(&scripted->bus, id) > 0 || engine_process_has_ended(&scripted->engine);
}

const struct result *scripted_await(struct scripted *scripted, const char *id, unsigned patience_ms)
{
	const struct result *result;

	(void)turn_for(scripted, is_told, id, patience_ms);
	result = bus_stand_result(&scripted->bus, id);
	scripted->is_flawed |= !result;
	return result;
}

static bool has_template(struct scripted *scripted, const void *number)
{
	const struct fake_vm *vm;
	const char *script = scripted->scripts[*(const size_t *)number];

	TAILQ_FOREACH(vm, &scripted->vms, link)
		if (vm->play.script == script && vm->play.nth == SCRIPTED_TEMPLATE && fake_vm_is_left(vm))
			return true;
	return engine_process_has_ended(&scripted->engine);
}

bool scripted_await_template(struct scripted *scripted, size_t number, unsigned patience_ms)
{
	return turn_for(scripted, has_template, &number, patience_ms);
}

/* NULL: nothing. */
static const char *what_is_held(const struct scripted *scripted)
{
	struct scripted_disk *disk;
	struct fake_vm *vm;

	TAILQ_FOREACH(vm, &scripted->vms, link) {
		if (!fake_vm_is_left(vm))
			return "the engine holds a socket of a microVM";
	}
	TAILQ_FOREACH(disk, &scripted->disks, link) {
		if (!disk->is_erase_asked)
			return "a disk was not asked to be erased";
	}
	if (engine_process_has_open(&scripted->engine, DISK_NAME))
		return "the engine holds a disk";
	return scripted->n_sockets && engine_process_sockets(&scripted->engine) > scripted->n_sockets ?
		       "the engine holds a socket of something that it was told is over" :
		       NULL;
}

static bool is_let_go(struct scripted *scripted, const void *what)
{
	(void)what;
	return !what_is_held(scripted);
}

static void forget(struct scripted *scripted)
{
	struct scripted_wait *wait;
	struct scripted_disk *disk;
	struct fake_vm *vm;

	memset(scripted->n_vms, 0, sizeof(*scripted->n_vms) * scripted->n_scripts);
	while ((wait = LIST_FIRST(&scripted->waits))) {
		LIST_REMOVE(wait, link);
		event_free(wait->due);
		free(wait);
	}
	while ((disk = TAILQ_FIRST(&scripted->disks))) {
		TAILQ_REMOVE(&scripted->disks, disk, link);
		free(disk);
	}
	while ((vm = TAILQ_FIRST(&scripted->vms))) {
		TAILQ_REMOVE(&scripted->vms, vm, link);
		fake_vm_free(vm);
	}
}

const char *scripted_flaw(struct scripted *scripted)
{
	const char *held;

	scripted->is_flawed = true;
	if (engine_process_has_ended(&scripted->engine))
		return "the engine has ended";
	(void)turn_for(scripted, is_let_go, NULL, LET_GO_MS); /* what is held then, is held: */
	held = what_is_held(scripted);
	forget(scripted);
	scripted->is_flawed = held;
	return held;
}

void scripted_open(struct scripted *scripted, const char *const *scripts, size_t n_scripts, unsigned slots, bool has_clones)
{
	struct task task;
	const char *flaw;

	prepare(scripted, scripts, n_scripts);
	start_engine(scripted, slots, has_clones);
	scripted_task("first", "well", &task);
	bus_stand_send(&scripted->bus, &task);
	flaw = scripted_await(scripted, "first", START_MS) ? scripted_flaw(scripted) : "it does nothing";
	if (flaw)
		(void)fprintf(stderr, "the engine: %s\n", flaw);
	scripted->n_sockets = flaw ? 0 : engine_process_sockets(&scripted->engine);
}

static bool is_ended(struct scripted *scripted, const void *what)
{
	(void)what;
	return engine_process_has_ended(&scripted->engine);
}

static const char *end_engine(struct scripted *scripted)
{
	static char why[WHY_MAX];

	engine_process_terminate(&scripted->engine);
	if (!turn_for(scripted, is_ended, NULL, END_MS))
		return "the engine does not end";
	(void)snprintf(why, sizeof(why), "the engine ended with wait status %#x", (unsigned)scripted->engine.status);
	bus_stand_read(&scripted->bus);
	return scripted->engine.status ? why : NULL;
}

static bool has_lease(const struct scripted *scripted)
{
	struct lease_keys keys;
	struct err err;

	assert(lease_keys_name(BUS_STAND_PREFIX, &keys, &err) == 0);
	return *redis_server_ask(&scripted->bus.redis, "KEYS %s*", keys.lease_prefix) ||
	       *redis_server_ask(&scripted->bus.redis, "ZRANGE %s 0 -1", keys.deadlines);
}

const char *scripted_end(struct scripted *scripted)
{
	const char *why = end_engine(scripted);

	if (!why && has_lease(scripted))
		why = "a lease is left in Redis";
	scripted->is_flawed |= why != NULL;
	return why;
}

void scripted_close(struct scripted *scripted)
{
	forget(scripted);
	for (unsigned i = 0; i < SCRIPTED_LANES; i++)
		fake_lane_close(&scripted->lanes[i]);
	event_free(scripted->supervisor);
	event_free(scripted->pulse);
	close_fd(&scripted->supervisor_fd);
	event_base_free(scripted->base);
	engine_process_clear(&scripted->engine, scripted->is_flawed);
	bus_stand_close(&scripted->bus);
	free(scripted->n_vms);
}
