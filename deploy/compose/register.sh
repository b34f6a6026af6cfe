#!/bin/sh
# Makes a kubeconfig for the other services, and shows the API server the auditor. May run again.
# Needs kubectl, and of a system no more than the image of k3s has.
#
#   register.sh ADMIN_KUBECONFIG API_SERVER_URL AUTHORITY    with KUBECONFIG naming the file that is made
set -eu
admin=$1 url=$2 authority=$3
here=${0%/*}

# The watcher is another user than root.
umask 022
kubectl --kubeconfig="$admin" config view --raw --flatten > "$KUBECONFIG"
kubectl config set-cluster "$(kubectl config view --output='jsonpath={.clusters[0].name}')" --server="$url"

left=60
until kubectl get --raw /readyz > /dev/null; do
    left=$((left - 1))
    test "$left" -gt 0 || { echo "error: $url is not ready" >&2; exit 1; }
    sleep 1
done

# kubectl writes the data of a Secret in base64, as caBundle needs it.
bundle=$(kubectl create secret generic authority --from-file=ca.crt="$authority" --dry-run=client \
    --output='jsonpath={.data.ca\.crt}')
kubectl patch --local --filename="$here/webhook.yaml" --type=json --output=json \
    --patch="[{\"op\": \"add\", \"path\": \"/webhooks/0/clientConfig/caBundle\", \"value\": \"$bundle\"}]" |
    kubectl apply --filename=-
