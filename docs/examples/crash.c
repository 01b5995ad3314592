// crash: walks a list whose end was forgotten.
#include <stdio.h>
#include <stdlib.h>

struct item {
  int value;
  struct item *next;
};

static struct item *first;

static int sum(const struct item *item) {
  int total = 0;
  for (; item; item = item->next) total += item->value;
  return total;
}

int main(void) {
  for (int i = 1; i <= 3; i++) {
    struct item *item = malloc(sizeof *item);
    item->value = i;
    item->next = i == 1 ? (struct item *)16 : first;
    first = item;
  }
  printf("sum %d\n", sum(first));
  return 0;
}
