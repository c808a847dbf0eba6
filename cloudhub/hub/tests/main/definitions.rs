//! The hub keeps the definitions that it cannot do without.

use std::time::{Duration, Instant};

use kube::{
    Api,
    api::{DeleteParams, DynamicObject},
    core::{ApiResource, GroupVersionKind},
};

use crate::harness::TestHub;

const DEVICES: &str = "devices.devices.kubeedge.io";
const PATIENCE: Duration = Duration::from_secs(60);

async fn wait(
    definitions: &Api<DynamicObject>,
    what: &str,
    wanted: impl Fn(&DynamicObject) -> bool,
) -> DynamicObject {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = definitions.get_opt(DEVICES).await.unwrap();
        match found {
            Some(found) if wanted(&found) => return found,
            other => assert!(Instant::now() < deadline, "no {what}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_deleted_comes_back() {
    let test = TestHub::start().await;
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions");
    let definitions: Api<DynamicObject> = Api::all_with(test.client.clone(), &resource);
    let before = definitions.get(DEVICES).await.unwrap();

    let uid = before.metadata.uid;
    let all = DeleteParams::default();
    let _ = definitions.delete(DEVICES, &all).await.unwrap();
    let again = wait(&definitions, "new definition", |found| {
        found.metadata.uid != uid && found.data["status"]["conditions"][1]["status"] == "True"
    })
    .await;
    assert_eq!(
        again.data["spec"]["versions"],
        before.data["spec"]["versions"]
    );
    test.hub.stop().await;
}
