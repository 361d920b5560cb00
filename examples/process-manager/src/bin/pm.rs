//! The command line.

use sealpipe_process_manager::{
    CHANGES, Command, Happened, LIMIT, Line, Process, place, topics_of,
};
use sealpipe_tokio::{Config, Connection, Format, Json};
use std::{env, error::Error, process::ExitCode};

const USAGE: &str = "usage: pm start NAME PROGRAM [ARGUMENT]... | stop NAME | status NAME | list \
                     | logs NAME | watch | shutdown";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pm: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let daemon = Connection::connect(&place()?, Config::default()).await?;
    let name = words
        .get(1)
        .map(|name| String::from(*name))
        .unwrap_or_default();
    let command = match *words {
        ["start", _, program, ref arguments @ ..] => Command::Start {
            name,
            program: program.into(),
            arguments: arguments.iter().map(|word| String::from(*word)).collect(),
        },
        ["stop", _] => Command::Stop { name },
        ["status", _] => Command::Status { name },
        ["list"] => {
            let all: Vec<Process> = Json::request(&daemon, &Command::List, LIMIT).await?;
            all.iter().for_each(|process| println!("{process}"));
            return Ok(());
        }
        ["logs", _] => return follow(&daemon, name).await,
        ["watch"] => return watch(&daemon).await,
        ["shutdown"] => return Ok(Json::request(&daemon, &Command::Shutdown, LIMIT).await?),
        _ => return Err(USAGE.into()),
    };
    let process: Process = Json::request(&daemon, &command, LIMIT).await?;
    println!("{process}");
    Ok(())
}

/// Prints what a process has printed, and what it prints, until it has ended.
async fn follow(daemon: &Connection, name: String) -> Result<(), Box<dyn Error>> {
    // First, so that no line is missed in between.
    let mut events = daemon.subscribe(&topics_of(&name)).await?;
    let (process, lines): (Process, Vec<Line>) =
        Json::request(daemon, &Command::Logs { name }, LIMIT).await?;
    let mut next = 0;
    for line in lines {
        println!("{}", line.text);
        next = line.number + 1;
    }
    if !process.is_alive() {
        return Ok(());
    }
    while let Some(event) = events.recv().await? {
        if event.missed() > 0 {
            println!("[{} missed]", event.missed());
        }
        match Json::decode(&event.payload)? {
            Happened::Printed(line) if line.number >= next => println!("{}", line.text),
            Happened::Changed(process) if !process.is_alive() => break,
            _ => {}
        }
    }
    Ok(())
}

/// Prints what becomes of all processes, until the daemon ends.
async fn watch(daemon: &Connection) -> Result<(), Box<dyn Error>> {
    let mut events = daemon.subscribe(CHANGES).await?;
    eprintln!("watching");
    while let Some(event) = events.recv().await? {
        if let Happened::Changed(process) = Json::decode(&event.payload)? {
            println!("{process}");
        }
    }
    Ok(())
}
