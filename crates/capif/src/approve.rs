//! `capif approve`

use capif_ccf::admin::{Approval, Decision};

use crate::{
    choice::id,
    exit::{Exit, Failure},
    operator::CcfFolder,
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What waits, by its id in `capif list pending`
    #[arg(value_parser = id)]
    id: String,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let wanted = Approval { id: args.id };
    let decision: Decision = args.folder.operator()?.post("/approvals", &wanted).await?;
    output::note(&said(&decision));
    Ok(Exit::Done)
}

fn said(decision: &Decision) -> String {
    let id = &decision.id;
    if decision.told {
        format!("{id} is approved, and told so at its notification destination")
    } else {
        format!(
            "{id} is approved; it cannot be told where it takes notifications, and learns it when it asks again: \
             whoever enrols with `capif` runs the same command once more"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_who_learns_of_it_and_how() {
        let decision = |told| Decision {
            id: "INV1".to_owned(),
            told,
        };
        assert!(said(&decision(true)).ends_with("at its notification destination"));
        assert!(said(&decision(false)).contains("runs the same command once more"));
    }
}
