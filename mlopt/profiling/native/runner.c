/* Measures one TFLite file in this process, which did nothing before.
 *
 *     runner LIBRARY REQUEST RESULT [count [INPUTS OUTPUTS]]
 *
 * REQUEST and RESULT are the files that mlopt/profiling/contract.py describes; RESULT appears whole, by a rename. What is
 * unknown is left out of it. With "count" nothing is timed: each inference is marked for the counting plugin, and the
 * tensors' raw bytes are written where the last two arguments say.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <gnu/libc-version.h>
#include <malloc.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "marks.h"
#include "model.h"

enum { VERSION = 1, PATH_ROOM = 4096, LEAST_SAMPLE_US = 20, BURST_US = 2000, LONG_US = 20000 };

struct request {
    char file[PATH_ROOM], beside[PATH_ROOM], nonce[256]; /* beside "": one file */
    int threads, runs, warmups, memory, operators;
    double rate_hz, most_seconds, seed, order_seed; /* rate_hz 0: back to back */
    const char *text;
};

struct result {
    double import_ms, load_ms, compile_ms, first_ms;
    int warmups, samples, batch, missed, throttled;
    long switches, heap_kept, peak, pss; /* the last three in bytes; -1 unknown */
    double *sample_us, *beside_us; /* of the second file, as many */
    int burst;                     /* samples of one file before the other's turn */
    char notes[4][160];
    int note_count;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void sleep_until(double when_s)
{
    struct timespec t = {(time_t)when_s, (long)((when_s - floor(when_s)) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static void note(struct result *r, const char *text)
{
    if (r->note_count < 4)
        snprintf(r->notes[r->note_count++], sizeof r->notes[0], "%s", text);
}

static int read_request(const char *path, struct request *q)
{
    static char text[1 << 16];
    char word[32];
    FILE *file = fopen(path, "rb");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[length] = '\0';
    q->text = text;
    q->threads = (int)json_number(text, "threads", 1);
    q->runs = (int)json_number(text, "runs", 200);
    q->warmups = (int)json_number(text, "least_warmup_runs", 5);
    q->rate_hz = json_number(text, "rate_hz", 0);
    q->most_seconds = json_number(text, "most_seconds", 20);
    q->seed = json_number(text, "seed", 0);
    q->order_seed = json_number(text, "order_seed", 0);
    if (!json_string(text, "beside", q->beside, sizeof q->beside))
        q->beside[0] = '\0';
    q->memory = json_true(text, "memory");
    q->operators = json_true(text, "operators");
    if (json_string(text, "arrival", word, sizeof word) && strcmp(word, "fixed-rate") != 0)
        q->rate_hz = 0;
    return json_number(text, "schema", 0) == 1 && q->runs > 0 && q->warmups > 0 && q->threads > 0 &&
           json_string(text, "file", q->file, sizeof q->file) && json_string(text, "nonce", q->nonce, sizeof q->nonce);
}

static void pin(const struct request *q, struct result *r)
{
    const char *at = json_find(q->text, "cpus");
    cpu_set_t set;
    CPU_ZERO(&set);
    for (at = at ? at + 1 : ""; isdigit((unsigned char)*(at = json_space(at)));) {
        char *end;
        long cpu = strtol(at, &end, 10);
        if (cpu < CPU_SETSIZE)
            CPU_SET(cpu, &set);
        at = json_space(end);
        at += *at == ',';
    }
    if (CPU_COUNT(&set) && sched_setaffinity(0, sizeof set, &set) != 0)
        note(r, "could not pin to the processors asked for: they are not there, or not ours");
}

/* The number behind `name` in a file of "Name:   123 kB" lines, in bytes; -1 where it is not. */
static long kernel_bytes(const char *path, const char *name)
{
    char line[256];
    long kilobytes = -1;
    FILE *file = fopen(path, "r");
    while (file && kilobytes < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            kilobytes = atol(line + strlen(name) + 1);
    if (file)
        fclose(file);
    return kilobytes < 0 ? -1 : kilobytes * 1024;
}

static long heap_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return (long)(info.uordblks + info.hblkhd);
}

/* Set the highest resident memory back to what is resident now. */
static int forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    int wrote = file && fputs("5", file) >= 0;
    return file && fclose(file) == 0 && wrote;
}

/* Seconds of a fixed piece of arithmetic, best of three: a processor that slowed down in between shows. */
static double arithmetic_s(void)
{
    double best = INFINITY;
    for (int round = 0; round < 3; round++) {
        volatile uint64_t sum = 1;
        double start = now_s();
        for (int i = 0; i < 1000000; i++)
            sum = sum * 2862933555777941757u + 3037000493u;
        best = fmin(best, now_s() - start);
    }
    return best;
}

/* Microseconds of the last warm-up run; a negative number where it failed. */
static double warm_up(struct model *m, const struct request *q, struct result *r)
{
    double start = now_s(), last = 0;
    int runs = 0;
    for (; runs < q->warmups && (runs == 0 || now_s() - start < q->most_seconds); runs++) {
        double before = now_s();
        if (!model_run(m))
            return -1;
        last = now_s() - before;
    }
    r->warmups = runs;
    return last * 1e6;
}

/* Inferences in one sample: more than one where the clock is too coarse for one. */
static int batch_for(double one_us)
{
    return one_us > 0 && one_us < LEAST_SAMPLE_US ? (int)ceil(LEAST_SAMPLE_US / one_us) : 1;
}

static int take_samples(struct model *m, const struct request *q, struct result *r)
{
    double start = now_s(), begin;
    for (int i = 0; i < q->runs && (i == 0 || now_s() - start < q->most_seconds); i++) {
        begin = now_s();
        if (q->rate_hz > 0) { /* time counts from when it was due, so that waiting for the last one shows */
            double due = start + i / q->rate_hz;
            r->missed += begin > due && i > 0;
            if (begin < due)
                sleep_until(due);
            begin = due;
        }
        for (int k = 0; k < r->batch; k++)
            if (!model_run(m))
                return 0;
        r->sample_us[r->samples++] = (now_s() - begin) * 1e6 / r->batch;
    }
    if (r->samples < q->runs)
        note(r, "the time allowed ended before the runs asked for");
    return 1;
}

/* `count` samples of one file, after `lead` runs that bring it back into the caches. */
static int take_burst(struct model *m, double *sample_us, int count, int batch, int lead)
{
    for (int i = 0; i < lead; i++)
        if (!model_run(m))
            return 0;
    for (int i = 0; i < count; i++) {
        double begin = now_s();
        for (int k = 0; k < batch; k++)
            if (!model_run(m))
                return 0;
        sample_us[i] = (now_s() - begin) * 1e6 / batch;
    }
    return 1;
}

/* Both files in bursts that take turns; which begins is drawn for each pair of bursts. */
static int take_turns(struct model *one, struct model *other, const struct request *q, struct result *r,
                      uint64_t *order, double one_us, double other_us)
{
    double start, shorter = fmin(one_us, other_us);
    int lead = shorter < LONG_US;
    r->batch = batch_for(shorter);
    r->burst = (int)fmax(1, fmin(q->runs, round(BURST_US / (r->batch * fmax((one_us + other_us) / 2, 0.1)))));
    start = now_s();
    while (r->samples < q->runs && (r->samples == 0 || now_s() - start < 2 * q->most_seconds)) {
        int count = r->burst < q->runs - r->samples ? r->burst : q->runs - r->samples;
        int swapped = (int)(next_random(order) >> 63);
        for (int turn = 0; turn < 2; turn++) {
            int second = turn ^ swapped;
            if (!take_burst(second ? other : one, (second ? r->beside_us : r->sample_us) + r->samples, count, r->batch,
                            lead))
                return 0;
        }
        r->samples += count;
    }
    if (r->samples < q->runs)
        note(r, "the time allowed ended before the runs asked for");
    return 1;
}

/* One marked inference. Neither static nor inlined: callgrind finds it by this name. */
__attribute__((noinline)) int counted_inference(struct model *m)
{
    syscall(SYS_prctl, MARK, MARK_BEGIN, 0, 0, 0);
    int ran = model_run(m);
    syscall(SYS_prctl, MARK, MARK_END, 0, 0, 0);
    return ran;
}

static int count(struct model *m, const struct request *q, struct result *r, char **tensors)
{
    for (; r->warmups < q->warmups; r->warmups++)
        if (!model_run(m))
            return 0;
    for (int i = 0; i < q->runs; i++)
        if (!counted_inference(m))
            return 0;
    if (tensors == NULL)
        return 1;
    return model_write_tensors(m, m->input, m->inputs, tensors[0]) &&
           model_write_tensors(m, m->output, m->outputs, tensors[1]);
}

static int time_phases(struct model *m, const struct request *q, struct result *r)
{
    double t[4];
    long heap = heap_in_use();
    t[0] = now_s();
    if (!model_load(m, q->file))
        return 0;
    t[1] = now_s();
    if (!model_compile(m, q->threads) || !model_make_buffers(m, (uint64_t)q->seed))
        return 0;
    if (m->has_free_sizes)
        note(r, "an input has free dimensions: they have the sizes that the file stores, mostly 1");
    t[2] = now_s();
    if (!model_run(m))
        return 0;
    t[3] = now_s();
    r->load_ms = (t[1] - t[0]) * 1e3;
    r->compile_ms = (t[2] - t[1]) * 1e3;
    r->first_ms = (t[3] - t[2]) * 1e3;
    if (q->memory)
        r->heap_kept = heap_in_use() - heap;
    return 1;
}

static int ready(struct model *m, const char *file, const struct request *q)
{
    return model_load(m, file) && model_compile(m, q->threads) && model_make_buffers(m, (uint64_t)q->seed) &&
           model_run(m);
}

/* Two files in this process, loaded in an order that is drawn. What went wrong is told in the first's error. */
static int measure_beside(struct model *m, const struct request *q, struct result *r)
{
    static struct model other;
    struct rusage before, after;
    uint64_t order = (uint64_t)q->order_seed;
    int swapped = (int)(next_random(&order) >> 63), done = 0;
    other.api = m->api;
    if (swapped) {
        done = ready(&other, q->beside, q);
        m->environment = other.environment;
        done = done && ready(m, q->file, q);
    } else {
        done = ready(m, q->file, q);
        other.environment = m->environment;
        done = done && ready(&other, q->beside, q);
    }
    if (done) {
        double arithmetic = arithmetic_s(), one_us = warm_up(m, q, r), other_us = warm_up(&other, q, r);
        getrusage(RUSAGE_SELF, &before);
        done = one_us >= 0 && other_us >= 0 && take_turns(m, &other, q, r, &order, one_us, other_us);
        getrusage(RUSAGE_SELF, &after);
        r->switches = after.ru_nivcsw - before.ru_nivcsw;
        r->throttled = arithmetic_s() > 1.05 * arithmetic;
    }
    if (m->has_free_sizes || other.has_free_sizes)
        note(r, "an input has free dimensions: they have the sizes that the file stores, mostly 1");
    if (q->memory)
        note(r, "memory is not counted in a process of two files");
    if (q->operators)
        note(r, "the native runner does not profile operators");
    if (m->error[0] == '\0')
        memcpy(m->error, other.error, sizeof m->error);
    return done;
}

static int measure(struct model *m, const struct request *q, struct result *r)
{
    struct rusage before, after;
    int exact_peak = q->memory && forget_peak();
    long resident = kernel_bytes("/proc/self/status", exact_peak ? "VmRSS" : "VmHWM");
    if (!time_phases(m, q, r))
        return 0;
    if (q->memory) {
        if (resident >= 0)
            r->peak = kernel_bytes("/proc/self/status", "VmHWM") - resident;
        if (!exact_peak)
            note(r, "peak memory counts from the highest, not the latest, level of the empty runner: no clear_refs");
    }
    double arithmetic = arithmetic_s();
    double last_us = warm_up(m, q, r);
    if (last_us < 0)
        return 0;
    r->batch = q->rate_hz == 0 ? batch_for(last_us) : 1;
    getrusage(RUSAGE_SELF, &before);
    if (!take_samples(m, q, r))
        return 0;
    getrusage(RUSAGE_SELF, &after);
    r->switches = after.ru_nivcsw - before.ru_nivcsw;
    r->throttled = arithmetic_s() > 1.05 * arithmetic;
    if (q->memory)
        r->pss = kernel_bytes("/proc/self/smaps_rollup", "Pss");
    if (q->operators)
        note(r, "the native runner does not profile operators");
    return 1;
}

static void write_facts(FILE *f)
{
    struct utsname name = {0};
    char board[128] = "";
    FILE *model = fopen("/proc/device-tree/model", "r");
    if (model) {
        board[fread(board, 1, sizeof board - 1, model)] = '\0';
        fclose(model);
    }
    uname(&name);
    fputs("\"facts\": {\"name\": ", f);
    json_write_string(f, board[0] ? board : name.machine);
    fprintf(f, ", \"system\": \"%s %s\", \"processor\": \"%s\", \"cores\": %ld, \"runner\": \"native %d, glibc %s\"", name.sysname,
            name.release, name.machine, sysconf(_SC_NPROCESSORS_ONLN), VERSION, gnu_get_libc_version());
}

/* "9x10 1x16": each output's element type, as LiteRT numbers them, and its bytes. */
static void write_outputs(FILE *f, const struct model *m)
{
    for (size_t i = 0; i < m->outputs; i++)
        fprintf(f, "%s%dx%zu", i ? " " : "", m->output_element[i], m->output_bytes[i]);
}

static int write_result(const char *path, const struct request *q, const struct result *r, const struct model *m)
{
    char temporary[PATH_ROOM + 8];
    snprintf(temporary, sizeof temporary, "%s.part", path);
    FILE *f = fopen(temporary, "w");
    if (f == NULL)
        return 0;
    fputs("{\"schema\": 1, \"nonce\": ", f);
    json_write_string(f, q->nonce);
    fputs(", ", f);
    write_facts(f);
    fprintf(f, ", \"throttled\": %s}, \"warmup_runs\": %d, \"batch_per_sample\": %d, \"missed_deadlines\": %d",
            r->throttled ? "true" : "false", r->warmups, r->batch, r->missed);
    fprintf(f, ", \"context_switches\": %ld, \"memory\": {\"heap_delta\": %ld, \"peak_delta\": %ld, \"pss\": %ld}",
            r->switches, r->heap_kept, r->peak, r->pss);
    fprintf(f, ", \"phases\": {\"import_ms\": %.4f", r->import_ms);
    if (m->error[0] == '\0' && r->burst == 0)
        fprintf(f, ", \"load_ms\": %.4f, \"compile_ms\": %.4f, \"first_ms\": %.4f", r->load_ms, r->compile_ms,
                r->first_ms);
    fputs("}, \"samples_us\": [", f);
    for (int i = 0; i < r->samples; i++)
        fprintf(f, "%s%.3f", i ? ", " : "", r->sample_us[i]);
    fprintf(f, "], \"burst\": %d, \"beside_samples_us\": [", r->burst);
    for (int i = 0; r->burst && i < r->samples; i++)
        fprintf(f, "%s%.3f", i ? ", " : "", r->beside_us[i]);
    fputs("], \"notes\": [", f);
    for (int i = 0; i < r->note_count; i++) {
        fputs(i ? ", " : "", f);
        json_write_string(f, r->notes[i]);
    }
    fputs("], \"error\": ", f);
    json_write_string(f, m->error);
    fputs(", \"extra\": {\"outputs\": \"", f);
    write_outputs(f, m);
    fputs("\"}}\n", f);
    int whole = fflush(f) == 0 && fsync(fileno(f)) == 0;
    return fclose(f) == 0 && whole && rename(temporary, path) == 0;
}

int main(int argc, char **argv)
{
    static struct request q;
    static struct model m;
    struct result r = {.batch = 1, .switches = -1, .heap_kept = -1, .peak = -1, .pss = -1};
    int counting = argc > 4 && strcmp(argv[4], "count") == 0;
    const char *missing;

    if (argc < 4 || (argc > 4 && (!counting || argc == 6 || argc > 7))) {
        fputs("usage: runner LIBRARY REQUEST RESULT [count [INPUTS OUTPUTS]]\n", stderr);
        return 2;
    }
    if (!read_request(argv[2], &q)) {
        fprintf(stderr, "runner: %s is not a request of schema 1\n", argv[2]);
        return 2;
    }
    double start = now_s();
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    r.import_ms = (now_s() - start) * 1e3;
    r.sample_us = calloc((size_t)q.runs, sizeof *r.sample_us);
    r.beside_us = calloc((size_t)q.runs, sizeof *r.beside_us);
    pin(&q, &r);
    if (library == NULL)
        snprintf(m.error, sizeof m.error, "%s", dlerror());
    else if ((missing = litert_find(library, &m.api)) != NULL)
        snprintf(m.error, sizeof m.error, "the library has no %s: not a version that this runner knows", missing);
    else if (r.sample_us == NULL || r.beside_us == NULL)
        snprintf(m.error, sizeof m.error, "no memory for %d samples", q.runs);
    else if (counting) {
        if (time_phases(&m, &q, &r))
            count(&m, &q, &r, argc == 7 ? argv + 5 : NULL);
    } else if (q.beside[0] && q.rate_hz > 0)
        snprintf(m.error, sizeof m.error, "two files take turns back to back alone: at a fixed rate one would wait");
    else if (q.beside[0])
        measure_beside(&m, &q, &r);
    else
        measure(&m, &q, &r);
    int written = write_result(argv[3], &q, &r, &m);
    free(r.sample_us);
    free(r.beside_us);
    if (!written) {
        fprintf(stderr, "runner: cannot write %s\n", argv[3]);
        return 2;
    }
    return m.error[0] ? 1 : 0;
}
