// A ledger with a mistake: a note that is too long overwrites what lies behind it.
#include <stdio.h>
#include <string.h>

struct account {
  char note[16];
  long* balance;
};

static long balances[4];
static struct account accounts[4];

static void write_note(int number, const char* text) { strcpy(accounts[number].note, text); }

static void deposit(int number, long amount) {
  *accounts[number].balance += amount;
  printf("account %d: %ld\n", number, *accounts[number].balance);
  fflush(stdout);
}

int main(void) {
  for (int i = 0; i < 4; ++i) accounts[i].balance = &balances[i];
  for (int month = 1; month <= 6; ++month) {
    for (int i = 0; i < 4; ++i) deposit(i, 100 * month);
    if (month == 2) write_note(2, "closed in the spring");
  }
  return 0;
}
