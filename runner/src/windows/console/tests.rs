use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;

/// A process of a machine that is not there.
#[derive(Debug, Clone)]
struct Fake {
    listed: Listed,
    asked: Asked,
    bears: Bears,
    adoptable: bool,
    killable: bool,
}

#[derive(Debug, Clone, Default)]
struct Machine {
    all: Rc<RefCell<Vec<Fake>>>,
    clock: Rc<Cell<Moment>>,
    /// How many processes were opened, and how many asked whose they are.
    opened: Rc<Cell<u32>>,
    asked: Rc<Cell<u32>>,
}

impl Machine {
    fn add(&self, pid: u32, parent: u32, created: Moment, inside: bool) {
        let listed = Listed { pid, parent, name: format!("p{pid}.exe"), threads: 1 };
        let asked = Asked { created, inside, ended: false };
        self.all.borrow_mut().push(Fake {
            listed,
            asked,
            bears: Bears::Nothing,
            adoptable: true,
            killable: true,
        });
    }

    fn change(&self, pid: u32, change: impl Fn(&mut Fake)) {
        self.all.borrow_mut().iter_mut().filter(|fake| fake.listed.pid == pid).for_each(change);
    }

    fn pids(&self) -> Vec<u32> {
        self.all.borrow().iter().map(|fake| fake.listed.pid).collect()
    }
}

impl Processes for Machine {
    type Opened = u32;
    fn list(&self) -> Vec<Listed> {
        self.all.borrow().iter().map(|fake| fake.listed.clone()).collect()
    }
    fn open(&self, pid: u32) -> Option<u32> {
        self.opened.set(self.opened.get() + 1);
        self.pids().contains(&pid).then_some(pid)
    }
    fn ask(&self, process: &u32) -> Option<Asked> {
        self.all.borrow().iter().find(|fake| fake.listed.pid == *process).map(|fake| fake.asked)
    }
    fn members(&self) -> Vec<u32> {
        self.all.borrow().iter().filter(|fake| fake.asked.inside).map(|fake| fake.listed.pid).collect()
    }
    fn bears(&self, process: &u32, _created: Moment) -> Bears {
        self.asked.set(self.asked.get() + 1);
        let all = self.all.borrow();
        all.iter().find(|fake| fake.listed.pid == *process).map_or(Bears::Nothing, |fake| fake.bears)
    }
    fn adopt(&self, process: &u32) -> bool {
        let adoptable = self.all.borrow().iter().any(|fake| fake.listed.pid == *process && fake.adoptable);
        self.change(*process, |fake| fake.asked.inside |= adoptable);
        adoptable
    }
    fn kill(&self, process: &u32) -> bool {
        let before = self.pids().len();
        self.all.borrow_mut().retain(|fake| fake.listed.pid != *process || !fake.killable);
        self.pids().len() < before
    }
    fn now(&self) -> Moment {
        self.clock.get()
    }
}

const START: Moment = 100_000_000_000;
const SECOND: Moment = 10_000_000;

/// A job with its first process 10; 1 is orlop, 2 somebody else's and older.
fn job() -> (Machine, Guard<Machine>) {
    let machine = Machine::default();
    machine.clock.set(START);
    machine.add(1, 2, START - 10 * SECOND, false);
    machine.add(2, 0, START - 20 * SECOND, false);
    let mut guard = Guard::new(machine.clone(), 1);
    machine.add(10, 1, START + 1, true);
    guard.joined(10);
    machine.clock.set(START + SECOND);
    (machine, guard)
}

#[test]
fn what_is_inside_or_not_of_the_job_is_left_alone() {
    let (machine, mut guard) = job();
    machine.add(11, 10, START + SECOND, true);
    machine.add(3, 1, START + SECOND, false);
    machine.add(4, 2, START + SECOND, false);
    let before = machine.pids();
    assert_eq!(guard.sweep(false), Ok(()));
    assert_eq!(guard.sweep(true), Ok(()));
    assert_eq!((machine.pids(), guard.notes.len()), (before, 0));
}

#[test]
fn a_descendant_outside_is_put_into_the_job_with_its_children() {
    let (machine, mut guard) = job();
    machine.add(20, 10, START + SECOND, false);
    machine.add(21, 20, START + SECOND, false);
    assert_eq!(guard.sweep(false), Ok(()));
    assert!(
        machine.ask(&20).is_some_and(|asked| asked.inside)
            && machine.ask(&21).is_some_and(|asked| asked.inside)
    );
    assert_eq!(
        guard.notes,
        [
            "`p20.exe` (process 20) was found outside the job and put into it",
            "`p21.exe` (process 21) was found outside the job and put into it"
        ]
    );
}

#[test]
fn after_the_job_it_is_ended() {
    let (machine, mut guard) = job();
    guard.left(10);
    machine.change(10, |fake| fake.asked.ended = true);
    machine.add(20, 10, START + SECOND, false);
    machine.add(21, 20, START + SECOND, false);
    assert_eq!(guard.sweep(true), Ok(()));
    assert_eq!(machine.pids(), [1, 2, 10]);
    assert_eq!(guard.notes.len(), 2);
}

#[test]
fn what_cannot_be_had_is_an_error_that_names_it() {
    let (machine, mut guard) = job();
    machine.add(20, 10, START + SECOND, false);
    machine.change(20, |fake| (fake.adoptable, fake.killable) = (false, false));
    let stray = Stray { what: "`p20.exe` (process 20)".into() };
    assert_eq!(guard.sweep(false), Err(vec![stray.clone()]));
    assert_eq!(guard.sweep(true), Err(vec![stray]));
    machine.change(20, |fake| fake.killable = true);
    assert_eq!(guard.sweep(false), Ok(()));
    assert_eq!(guard.notes, ["`p20.exe` (process 20) was found outside the job and ended"]);
}

#[test]
fn a_sid_tells_more_than_a_parent() {
    let (machine, mut guard) = job();
    // Its parent is not of the job: a console host of Server 2012, a process that named its parent.
    machine.add(30, 2, START + SECOND, false);
    machine.change(30, |fake| fake.bears = Bears::Ours);
    machine.add(31, 2, START + SECOND, false);
    machine.change(31, |fake| fake.bears = Bears::Nothing);
    assert_eq!(guard.sweep(true), Ok(()));
    assert_eq!(machine.pids(), [1, 2, 10, 31]);
}

#[test]
fn an_id_that_is_used_again_is_not_mistaken() {
    let (machine, mut guard) = job();
    machine.clock.set(START + 2 * SECOND);
    guard.left(10);
    machine.all.borrow_mut().retain(|fake| fake.listed.pid != 10);
    // Somebody else's process has the id now, and a child.
    machine.add(10, 2, START + 50 * SECOND, false);
    machine.add(40, 10, START + 51 * SECOND, false);
    assert_eq!(guard.sweep(true), Ok(()));
    assert_eq!(machine.pids(), [1, 2, 10, 40]);
    // And one that says its parent was of the job, but is older than it.
    let (machine, mut guard) = job();
    machine.change(10, |fake| fake.asked.created = START + 5 * SECOND);
    guard.joined(10);
    machine.add(50, 10, START + SECOND, false);
    assert_eq!(guard.sweep(true), Ok(()));
    assert_eq!(machine.pids(), [1, 2, 10, 50]);
}

#[test]
fn the_console_is_not_what_the_command_left() {
    let (machine, guard) = job();
    machine.add(60, 10, START + 1, true);
    machine.change(60, |fake| fake.listed.name = "conhost.exe".into());
    assert_eq!(guard.without_console(&[10, 60]), 1);
}

#[test]
fn what_is_too_young_is_looked_at_again() {
    let (machine, mut guard) = job();
    // Under another parent, and without anything yet to know it by.
    machine.add(70, 2, START + SECOND, false);
    machine.change(70, |fake| fake.bears = Bears::TooYoung);
    // A descendant is known whatever its age.
    machine.add(71, 10, START + SECOND, false);
    machine.change(71, |fake| fake.bears = Bears::TooYoung);
    assert_eq!(guard.sweep(true), Ok(()));
    assert!(guard.undecided);
    assert_eq!(machine.pids(), [1, 2, 10, 70]);
    machine.change(70, |fake| fake.bears = Bears::Ours);
    assert_eq!(guard.sweep(true), Ok(()));
    assert!(!guard.undecided);
    assert_eq!(machine.pids(), [1, 2, 10]);
}

#[test]
fn a_thousand_processes_are_asked_once() {
    let (machine, mut guard) = job();
    for pid in 100..1100 {
        machine.add(pid, 10, START + SECOND, true);
        machine.add(pid + 10_000, 2, START + SECOND, false);
    }
    assert_eq!(guard.sweep(false), Ok(()));
    assert_eq!(machine.asked.get(), 1000, "those outside the job, and no older than it");
    let opened = machine.opened.get();
    assert_eq!(guard.sweep(false), Ok(()));
    assert_eq!(machine.asked.get(), 1000, "what they are does not change");
    // An id alone may be another's by now, unless the job itself says that it is its own.
    assert_eq!(machine.opened.get() - opened, 1001);
}
