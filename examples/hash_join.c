/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hash_join.c - a partitioned hash join by several threads, in plain C with pthreads
 *
 * Two relations are generated: customers (key, name) and orders (customer, amount). Both are
 * partitioned by a hash of the key; then each partition is built into a hash table and probed.
 * Threads take slices and partitions from a queue (a mutex, two condition variables); a barrier
 * stands between the phases. Everything is allocated by malloc(), the rows' names one by one,
 * and lives on the heap: relations, tables, the queue, the locks.
 *
 * The results do not depend on the threads' order. They are checked against what is known of
 * the generated rows; exit status 1 if they are wrong.
 *
 * Run: ./hash_join [MIB [THREADS]]
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS 64
#define SLICE 4096 /* rows that are one piece of work */
#define ORDERS_PER_CUSTOMER 4
#define ROWS_PER_MIB 6000 /* customers: with their orders and tables about a MiB */

struct customer {
	uint64_t key;
	char *name;
};

struct order {
	uint64_t customer;
	uint32_t amount;
};

struct bucket { /* of a chained hash table */
	const struct customer *row;
	struct bucket *next;
};

struct partition { /* arrays that grow */
	pthread_mutex_t lock;
	struct customer *customers;
	struct order *orders;
	size_t customer_count, customer_room, order_count, order_room;
};

struct queue { /* of numbers below a limit: one thread puts them in, all others take them */
	pthread_mutex_t lock;
	pthread_cond_t filled, drained;
	size_t items[8], count;
	bool closed;
};

struct join {
	struct queue queue;
	pthread_barrier_t barrier;
	struct partition partitions[PARTITIONS];
	size_t customers, orders;
	uint64_t matches, amount, names; /* the result: sums, under lock */
	pthread_mutex_t lock;
};

static void *allocate(size_t size)
{
	void *block = malloc(size);

	if (!block) {
		fprintf(stderr, "hash_join: out of memory\n");
		exit(1);
	}
	return block;
}

/* ---- The generated rows: a pure function of their number ------------------------------- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t customer_key(size_t i)
{
	return mix(i + 1); /* one to one, so keys are unique */
}

/* Of every eight orders one has a customer that does not exist. */
static struct order order_row(size_t i, size_t customers)
{
	uint64_t random = mix(i ^ 0x5bd1e995u);
	struct order order = { customer_key(random % customers), (uint32_t)(random >> 40) % 1000 };

	if (i % 8 == 7)
		order.customer = customer_key(customers + i);
	return order;
}

static size_t customer_name(char *text, size_t size, uint64_t key)
{
	int length = snprintf(text, size, "customer %" PRIx64 "%.*s", key, (int)(key % 40),
	                      " of a street in a town in a country far away");

	return (size_t)length;
}

/* ---- The queue ------------------------------------------------------------------------- */

static void queue_put(struct queue *queue, size_t item)
{
	pthread_mutex_lock(&queue->lock);
	while (queue->count == sizeof(queue->items) / sizeof(queue->items[0]))
		pthread_cond_wait(&queue->drained, &queue->lock);
	queue->items[queue->count++] = item;
	pthread_cond_signal(&queue->filled);
	pthread_mutex_unlock(&queue->lock);
}

static void queue_close(struct queue *queue, bool closed)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = closed;
	pthread_cond_broadcast(&queue->filled);
	pthread_mutex_unlock(&queue->lock);
}

/* False: the queue is empty and closed. */
static bool queue_take(struct queue *queue, size_t *item)
{
	bool taken = false;

	pthread_mutex_lock(&queue->lock);
	while (queue->count == 0 && !queue->closed)
		pthread_cond_wait(&queue->filled, &queue->lock);
	if (queue->count) {
		*item = queue->items[--queue->count];
		taken = true;
		pthread_cond_signal(&queue->drained);
	}
	pthread_mutex_unlock(&queue->lock);
	return taken;
}

/* ---- Phase 1: generate a slice of rows, and deal them out to the partitions -------------- */

static struct partition *partition_of(struct join *join, uint64_t key)
{
	return &join->partitions[(key >> 32) % PARTITIONS];
}

static void *grow(void *array, size_t *room, size_t row)
{
	*room = *room ? *room * 2 : 16;
	array = realloc(array, *room * row);
	if (!array) {
		fprintf(stderr, "hash_join: out of memory\n");
		exit(1);
	}
	return array;
}

static void add_customer(struct join *join, size_t i)
{
	struct customer row = { .key = customer_key(i) };
	struct partition *p = partition_of(join, row.key);
	char name[128];
	size_t length = customer_name(name, sizeof(name), row.key);

	row.name = allocate(length + 1);
	memcpy(row.name, name, length + 1);
	pthread_mutex_lock(&p->lock);
	if (p->customer_count == p->customer_room)
		p->customers = grow(p->customers, &p->customer_room, sizeof(row));
	p->customers[p->customer_count++] = row;
	pthread_mutex_unlock(&p->lock);
}

static void add_order(struct join *join, size_t i)
{
	struct order row = order_row(i, join->customers);
	struct partition *p = partition_of(join, row.customer);

	pthread_mutex_lock(&p->lock);
	if (p->order_count == p->order_room)
		p->orders = grow(p->orders, &p->order_room, sizeof(row));
	p->orders[p->order_count++] = row;
	pthread_mutex_unlock(&p->lock);
}

static void deal_slice(struct join *join, size_t slice)
{
	size_t first = slice * SLICE;

	for (size_t i = first; i < first + SLICE && i < join->orders; i++) {
		add_order(join, i);
		if (i < join->customers)
			add_customer(join, i);
	}
}

/* ---- Phase 2: build a partition's table, probe it ----------------------------------------- */

static void probe(struct join *join, const struct partition *p, struct bucket *const *table,
                  size_t mask)
{
	uint64_t matches = 0, amount = 0, names = 0;

	for (size_t i = 0; i < p->order_count; i++) {
		const struct order *order = &p->orders[i];
		const struct bucket *bucket = table[order->customer & mask];

		while (bucket && bucket->row->key != order->customer)
			bucket = bucket->next;
		if (bucket) {
			matches++;
			amount += order->amount;
			names += strlen(bucket->row->name) * order->amount;
		}
	}
	pthread_mutex_lock(&join->lock);
	join->matches += matches;
	join->amount += amount;
	join->names += names;
	pthread_mutex_unlock(&join->lock);
}

static void join_partition(struct join *join, size_t number)
{
	struct partition *p = &join->partitions[number];
	size_t size = 16;

	while (size < p->customer_count)
		size *= 2;
	struct bucket **table = calloc(size, sizeof(*table));
	struct bucket *buckets = allocate((p->customer_count + 1) * sizeof(*buckets));

	if (!table) {
		fprintf(stderr, "hash_join: out of memory\n");
		exit(1);
	}
	for (size_t i = 0; i < p->customer_count; i++) {
		struct bucket **head = &table[p->customers[i].key & (size - 1)];

		buckets[i] = (struct bucket){ &p->customers[i], *head };
		*head = &buckets[i];
	}
	probe(join, p, table, size - 1);
	free(buckets);
	free(table);
}

static void free_partition(struct partition *p)
{
	for (size_t i = 0; i < p->customer_count; i++)
		free(p->customers[i].name);
	free(p->customers);
	free(p->orders);
	pthread_mutex_destroy(&p->lock);
}

/* ---- Threads --------------------------------------------------------------------------- */

static void *worker(void *argument)
{
	struct join *join = argument;
	size_t item;

	while (queue_take(&join->queue, &item))
		deal_slice(join, item);
	pthread_barrier_wait(&join->barrier); /* all rows are dealt out */
	pthread_barrier_wait(&join->barrier); /* the queue is open again */
	while (queue_take(&join->queue, &item))
		join_partition(join, item);
	return NULL;
}

static void run(struct join *join, unsigned threads)
{
	pthread_t *workers = allocate(threads * sizeof(*workers));

	pthread_barrier_init(&join->barrier, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		if (pthread_create(&workers[i], NULL, worker, join)) {
			fprintf(stderr, "hash_join: cannot start a thread\n");
			exit(1);
		}
	}
	for (size_t slice = 0; slice * SLICE < join->orders; slice++)
		queue_put(&join->queue, slice);
	queue_close(&join->queue, true);
	pthread_barrier_wait(&join->barrier);
	queue_close(&join->queue, false);
	pthread_barrier_wait(&join->barrier);
	for (size_t number = 0; number < PARTITIONS; number++)
		queue_put(&join->queue, number);
	queue_close(&join->queue, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i], NULL);
	pthread_barrier_destroy(&join->barrier);
	free(workers);
}

/* The same result without a join: by generating the matching orders once more. */
static bool check(const struct join *join)
{
	uint64_t matches = 0, amount = 0, names = 0;
	char name[128];

	for (size_t i = 0; i < join->orders; i++) {
		struct order order = order_row(i, join->customers);

		if (i % 8 == 7)
			continue;
		matches++;
		amount += order.amount;
		names += customer_name(name, sizeof(name), order.customer) * order.amount;
	}
	return join->matches == matches && join->amount == amount && join->names == names;
}

int main(int argc, char **argv)
{
	int mib = argc > 1 ? atoi(argv[1]) : 32, threads = argc > 2 ? atoi(argv[2]) : 4;

	if (argc > 3 || mib < 1 || mib > 65536 || threads < 1 || threads > 256) {
		fprintf(stderr, "usage: %s [MIB [THREADS]]\n", argv[0]);
		return 2;
	}
	struct join *join = allocate(sizeof(*join));

	memset(join, 0, sizeof(*join));
	join->customers = (size_t)mib * ROWS_PER_MIB;
	join->orders = join->customers * ORDERS_PER_CUSTOMER;
	pthread_mutex_init(&join->lock, NULL);
	pthread_mutex_init(&join->queue.lock, NULL);
	pthread_cond_init(&join->queue.filled, NULL);
	pthread_cond_init(&join->queue.drained, NULL);
	for (size_t i = 0; i < PARTITIONS; i++)
		pthread_mutex_init(&join->partitions[i].lock, NULL);

	run(join, (unsigned)threads);
	bool good = check(join);

	printf("%zu customers, %zu orders: %" PRIu64 " matches, amount %" PRIu64 ", names %" PRIu64
	       ": %s\n", join->customers, join->orders, join->matches, join->amount, join->names,
	       good ? "right" : "WRONG");
	for (size_t i = 0; i < PARTITIONS; i++)
		free_partition(&join->partitions[i]);
	free(join);
	return good ? 0 : 1;
}
