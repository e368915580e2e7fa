//! The core function and the gateway against the published descriptions of TS 29.222 annex A.

mod bodies;
mod callbacks;
mod claimed;
mod descriptions;
mod features;
mod gateway;
mod limits;
mod load;
mod moved;
mod queries;
mod record;
mod walk;

use descriptions::Descriptions;
use record::Record;

/// Every operation of the descriptions is asked, by those for whom it is and by others, with what it takes and with what it does
/// not; every answer is one that is described. What was not seen is in `unvisited.txt`, with the reason, and nothing else is.
#[tokio::test]
async fn every_operation_answers_as_it_is_described() {
    let Some(descriptions) = Descriptions::find("every_operation_answers_as_it_is_described")
    else {
        return;
    };
    let record = Record::new(descriptions);
    walk::every_operation(&record).await;
    walk::special_cases(&record).await;
    walk::delays(&record).await;
    limits::every_limit(&record).await;
    load::every_rate(&record).await;
    load::every_place(&record).await;
    queries::every_parameter(&record).await;
    gateway::every_operation(&record).await;
    moved::every_operation(&record).await;
    bodies::what_schemas_refuse(&record).await;
    record.assert_no_mistakes();
    record.assert_unvisited_are_listed();
}
