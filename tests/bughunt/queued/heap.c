// A binary heap of messages: the highest priority first, of several the oldest. Each message knows
// its place, so that one in the middle can be taken out.
#include <stdlib.h>

#include "queued.h"

static bool before(const struct message *one, const struct message *other) {
  if (one->priority != other->priority) return one->priority > other->priority;
  return one->id < other->id;
}

static void place(struct heap *heap, size_t at, struct message *message) {
  heap->items[at] = message;
  message->heap_at = at;
}

static void sift_up(struct heap *heap, size_t at) {
  struct message *message = heap->items[at];
  while (at > 0) {
    const size_t parent = (at - 1) / 2;
    if (!before(message, heap->items[parent])) break;
    place(heap, at, heap->items[parent]);
    at = parent;
  }
  place(heap, at, message);
}

static void sift_down(struct heap *heap, size_t at) {
  struct message *message = heap->items[at];
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= heap->count) break;
    if (child + 1 < heap->count && before(heap->items[child + 1], heap->items[child])) child++;
    if (!before(heap->items[child], message)) break;
    place(heap, at, heap->items[child]);
    at = child;
  }
  place(heap, at, message);
}

void heap_open(struct heap *heap) {
  heap->items = NULL;
  heap->count = heap->room = 0;
}

void heap_close(struct heap *heap) {
  free(heap->items);
  heap_open(heap);
}

void heap_push(struct heap *heap, struct message *message) {
  if (heap->count == heap->room) {
    const size_t room = heap->room ? 2 * heap->room : 16;
    struct message **items = realloc(heap->items, room * sizeof *items);
    if (!items) fatal("no memory for a queue");
    heap->items = items;
    heap->room = room;
  }
  heap->items[heap->count] = message;
  heap->count++;
  sift_up(heap, heap->count - 1);
}

struct message *heap_top(const struct heap *heap) { return heap->count ? heap->items[0] : NULL; }

struct message *heap_pop(struct heap *heap) {
  struct message *top = heap_top(heap);
  if (top) heap_remove(heap, top);
  return top;
}

void heap_remove(struct heap *heap, struct message *message) {
  const size_t at = message->heap_at;
  struct message *last = heap->items[--heap->count];
  if (last == message) return;
  place(heap, at, last);
  sift_down(heap, at);
  sift_up(heap, last->heap_at);
}

bool heap_is_sound(const struct heap *heap) {
  for (size_t at = 0; at < heap->count; at++) {
    if (heap->items[at]->heap_at != at) return false;
    if (at > 0 && before(heap->items[at], heap->items[(at - 1) / 2])) return false;
  }
  return true;
}
