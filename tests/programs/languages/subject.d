// A garbage-collected array, and a thread that is asked and answers.
import core.thread, core.sync.semaphore;
import std.random, std.stdio;

struct Ledger
{
    long total;
    long[] entries;
}

__gshared Ledger book;
__gshared long question, answer;

long work(long step)
{
    long twice = step * 2;
    book.entries ~= twice;
    book.total += twice;
    return book.total;
}

void main()
{
    immutable nonce = unpredictableSeed;
    writeln("nonce ", nonce);
    auto asked = new Semaphore, answered = new Semaphore;
    auto other = new Thread({
        for (;;)
        {
            asked.wait();
            if (question < 0)
                return;
            answer += question;
            answered.notify();
        }
    });
    other.start();
    foreach (long step; 1 .. 6)
    {
        immutable total = work(step);
        question = total;
        asked.notify();
        answered.wait();
        writeln("step ", step, " total ", total, " sum ", answer);
        stdout.flush();
    }
    question = -1;
    asked.notify();
    other.join();
    writeln("nonce ", nonce, " entries ", book.entries.length);
}
