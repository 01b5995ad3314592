// Four threads count; the main one stops in work() and sums up what they say.
use std::fs::File;
use std::io::Read;
use std::sync::mpsc;
use std::thread;

struct Ledger {
    total: i64,
    entries: Vec<i64>,
}

#[inline(never)]
fn work(ledger: &mut Ledger, step: i64) -> i64 {
    let twice = step * 2;
    ledger.entries.push(twice);
    ledger.total += twice;
    ledger.total
}

fn main() {
    let mut random = [0u8; 4];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    println!("nonce {}", u32::from_le_bytes(random));
    let (answers, all) = mpsc::channel();
    let mut questions = Vec::new();
    for number in 0..4i64 {
        let (question, asked) = mpsc::channel::<i64>();
        questions.push(question);
        let answers = answers.clone();
        thread::spawn(move || {
            for step in asked {
                answers.send(number * step).unwrap();
            }
        });
    }
    let mut ledger = Ledger { total: 0, entries: Vec::new() };
    let mut sum = 0;
    for step in 1..=5 {
        let total = work(&mut ledger, step);
        for question in &questions {
            question.send(step).unwrap();
        }
        for _ in &questions {
            sum += all.recv().unwrap();
        }
        println!("step {} total {} sum {}", step, total, sum);
    }
    println!("nonce {} entries {}", u32::from_le_bytes(random), ledger.entries.len());
}
