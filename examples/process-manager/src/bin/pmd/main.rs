//! The daemon.

mod supervisor;

use sealpipe_process_manager::{Command, LIMIT, place};
use sealpipe_tokio::{
    Client, Config, Format, Handler, Json, RemoteError, Request, Response, Server, Tokio,
};
use std::{error::Error, sync::Arc};
use supervisor::Supervisor;

impl Handler<Tokio> for Supervisor {
    async fn request(
        &self,
        client: &Client,
        request: &mut Request,
    ) -> Result<Response, RemoteError> {
        let server = client.server();
        let answer = match Json::decode(&request.payload)? {
            Command::Start {
                name,
                program,
                arguments,
            } => Json::encode(&self.start(server, name, program, arguments)?),
            Command::Stop { name } => Json::encode(&self.stop(&name).await?),
            Command::Status { name } => Json::encode(&self.find(&name)?.process()),
            Command::List => Json::encode(&self.list()),
            Command::Logs { name } => Json::encode(&self.find(&name)?.logs()),
            Command::Shutdown => {
                server.begin_stop(LIMIT);
                Json::encode(&())
            }
        };
        Ok(answer?.into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let supervisor = Arc::new(Supervisor::default());
    let server = Server::start(&place()?, Config::default(), supervisor.clone())?;
    println!("listening on {}", server.address());
    tokio::select! {
        _ = tokio::signal::ctrl_c() => server.begin_stop(LIMIT),
        _ = server.stopped() => {}
    }
    supervisor.stop_all().await;
    server.stopped().await;
    Ok(())
}
