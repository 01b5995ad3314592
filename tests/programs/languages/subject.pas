{ A record behind a pointer, and an array with bounds of its own. }
program subject;
type
  ledger = record
    total: longint;
    entries: array[1..5] of longint;
  end;
var
  book: ^ledger;
  nonce, step, now: longint;

function work(step: longint): longint;
var
  twice: longint;
begin
  twice := step * 2;
  book^.entries[step] := twice;
  book^.total := book^.total + twice;
  work := book^.total;
end;

begin
  randomize;
  nonce := random(1000000);
  writeln('nonce ', nonce);
  new(book);
  book^.total := 0;
  for step := 1 to 5 do
  begin
    now := work(step);
    writeln('step ', step, ' total ', now, ' sum ', book^.entries[1] + book^.entries[step]);
  end;
  writeln('nonce ', nonce, ' last ', book^.entries[5]);
end.
